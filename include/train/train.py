"""Train a classifier of survival on the prepared passengers and write it, with its figures, to a folder."""

import argparse
import glob
import json
import os

import joblib
import pandas as pd
from azureml.core import Run
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

LABEL = "Survived"
CATEGORIES = ["Title", "Sex", "Embarked"]
NUMBERS = [
    "Pclass",
    "Age",
    "SibSp",
    "Parch",
    "Fare",
    "HasCabin",
    "AgeWasMissing",
    "FamilySize",
    "IsAlone",
    "FarePerPerson",
]

parser = argparse.ArgumentParser()
parser.add_argument("passengers", help="folder of the prepared passengers (CSV with a header)")
parser.add_argument("--model", required=True, help="folder to write the model to")
parser.add_argument("--trees", type=int, default=150)
args = parser.parse_args()
assert args.passengers == os.environ["step2_input"]

run = Run.get_context()
files = sorted(glob.glob(os.path.join(args.passengers, "*.csv")))
data = pd.concat(map(pd.read_csv, files))
train, test = train_test_split(data, test_size=0.25, random_state=0, stratify=data[LABEL])
print(f"{len(train)} passengers to learn from, {len(test)} to test on")

encode = ColumnTransformer(
    [("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES), ("numbers", "passthrough", NUMBERS)]
)
model = make_pipeline(
    encode, GradientBoostingClassifier(n_estimators=args.trees, max_depth=3, subsample=0.8, random_state=0)
)

for fold, accuracy in enumerate(cross_val_score(model, train, train[LABEL], cv=5)):
    print(f"fold {fold + 1}: accuracy {accuracy:.3f}")
    run.log("fold_accuracy", accuracy)
model.fit(train, train[LABEL])

probability = model.predict_proba(test)[:, 1]
predicted = (probability >= 0.5).astype(int)
figures = {"accuracy": accuracy_score(test[LABEL], predicted), "AUC": roc_auc_score(test[LABEL], probability)}
for name, value in figures.items():
    print(f"{name}: {value:.3f}")
    run.log(name, value)
run.log_confusion_matrix(
    "confusion_matrix",
    {
        "schema_type": "confusion_matrix",
        "schema_version": "1.0.0",
        "data": {"class_labels": ["died", "survived"], "matrix": confusion_matrix(test[LABEL], predicted).tolist()},
    },
)

os.makedirs(args.model, exist_ok=True)
joblib.dump(model, os.path.join(args.model, "model.joblib"))
with open(os.path.join(args.model, "model.json"), "w") as file:
    json.dump({"label": LABEL, "features": CATEGORIES + NUMBERS, "rows": len(train), **figures}, file, indent=2)
