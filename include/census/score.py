"""Score people that the search has never seen with the model that it found.

A model is code: it is loaded here, in a step, and nowhere else.
"""

import argparse
import json
import os

import mlflow.sklearn
import pandas as pd
from azureml.core import Run
from sklearn.metrics import accuracy_score, roc_auc_score

parser = argparse.ArgumentParser()
parser.add_argument("--people", required=True, help="the parquet file of the people to score")
parser.add_argument("--model", required=True, help="folder of the model")
parser.add_argument("--scores", required=True, help="folder to write to")
args = parser.parse_args()

run = Run.get_context()
model = mlflow.sklearn.load_model(args.model)
with open(os.path.join(args.model, "stepwell.json")) as file:
    about = json.load(file)

people = pd.read_parquet(args.people).replace("?", None)
label = about["label"]
chances = model.predict_proba(people.drop(columns=label))
people["predicted"] = model.classes_[chances.argmax(axis=1)]
people["probability"] = chances[:, 1].round(4)

figures = {
    "AUC_weighted": roc_auc_score(people[label], chances[:, 1]),  # of two classes the weighted one is the plain one
    "accuracy": accuracy_score(people[label], people["predicted"]),
}
print(f"{about['model']}, found in iteration {about['iteration']}, on {len(people)} people it has not seen:")
for name, value in figures.items():
    print(f"{name}: {value:.4f} (in the search: {about['metrics'].get(name, float('nan')):.4f})")
    run.log(name, value)

os.makedirs(args.scores, exist_ok=True)
people.to_parquet(os.path.join(args.scores, "scores.parquet"), index=False)
