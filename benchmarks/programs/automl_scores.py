"""Split a data set, and score models on its test part: ``automl_scores.py split|ours|flaml …``.

``split NAME LABEL SEED FOLDER`` writes ``train.parquet`` and ``test.parquet``; ``ours REQUEST FOLDER`` scores the model
of a search that is over, and its best single model; ``flaml REQUEST FOLDER SECONDS SEED`` calls FLAML directly.
"""

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from sklearn import datasets
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

warnings.simplefilter("ignore")
DATA = Path(__file__).resolve().parents[2] / "include" / "data"
#: Our name of a metric → FLAML's.
METRICS = {"AUC_weighted": "roc_auc", "accuracy": "accuracy", "r2_score": "r2"}


def split(name, label, seed, folder):
    """Write both parts."""
    if name == "census":
        frame = pd.read_parquet(DATA / "adult_train.parquet")
    elif name == "titanic":
        frame = pd.read_csv(DATA / "Titanic.csv")
    else:
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    classes = frame[label] if frame[label].nunique() <= 10 else None
    train, test = train_test_split(frame, test_size=0.25, random_state=int(seed), stratify=classes)
    train.to_parquet(Path(folder, "train.parquet"), index=False)
    test.to_parquet(Path(folder, "test.parquet"), index=False)
    return len(train)


def score(model, test, settings):
    """Return the primary metric of a model on test data."""
    X, y = test.drop(columns=[settings["label_column_name"]]), test[settings["label_column_name"]]
    if settings["primary_metric"] == "AUC_weighted":
        classes = sorted(y.unique())
        return roc_auc_score(y == classes[1], model.predict_proba(X)[:, 1])
    judge = accuracy_score if settings["primary_metric"] == "accuracy" else r2_score
    return judge(y, model.predict(X))


def ours(path, folder):
    """Score the model of a search, and its best single one."""
    from stepwell.payload.automl import model, scores
    from stepwell.payload.automl.refit import refit
    from stepwell.payload.automl.request import Request
    from stepwell.payload.automl.search import read_history

    request, test = Request.read(path), pd.read_parquet(Path(folder, "test.parquet"))
    settings, alone = request.settings, str(Path(path).parent / "single")
    done = [t for t in read_history(request.results) if t.learner != "ensemble" and t.score is not None]
    best = min(done, key=lambda t: (scores.loss(settings["primary_metric"], t.score), t.iteration))
    refit(request, best.iteration, alone)
    whole = score(model.load(request.outputs["model"]), test, settings)
    return {"ours": whole, "single": score(model.load(alone), test, settings)}


def flaml(path, folder, seconds, seed):
    """Score FLAML's model."""
    sys.modules["pyspark"] = None  # FLAML starts a session of Spark wherever it finds it
    from flaml import AutoML

    settings = json.loads(Path(path).read_text("utf-8"))["settings"]
    train, test = (pd.read_parquet(Path(folder, f"{part}.parquet")) for part in ("train", "test"))
    label = settings["label_column_name"]
    model = AutoML()
    model.fit(
        X_train=train.drop(columns=[label]),
        y_train=train[label],
        task=settings["task"],
        metric=METRICS[settings["primary_metric"]],
        time_budget=float(seconds),
        n_jobs=1,
        seed=int(seed),
        early_stop=False,
        verbose=0,
        mlflow_logging=False,
    )
    return score(model, test, settings)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    print(json.dumps({"split": split, "ours": ours, "flaml": flaml}[what](*arguments)))
