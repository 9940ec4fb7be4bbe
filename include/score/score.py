"""Score passengers with a trained model: one file of probabilities, and how far they can be trusted."""

import argparse
import glob
import json
import os

import joblib
import pandas as pd
from azureml.core import Run

parser = argparse.ArgumentParser()
parser.add_argument("--passengers", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--scores", required=True)
args = parser.parse_args()

run = Run.get_context()
data = pd.concat(map(pd.read_csv, sorted(glob.glob(os.path.join(args.passengers, "*.csv")))))
model = joblib.load(os.path.join(args.model, "model.joblib"))
with open(os.path.join(args.model, "model.json")) as file:
    about = json.load(file)

data["probability"] = model.predict_proba(data[about["features"]])[:, 1].round(4)
os.makedirs(args.scores, exist_ok=True)
data[["PassengerId", "probability"]].to_csv(os.path.join(args.scores, "scores.csv"), index=False)

run.log("passengers", len(data))
run.log("expected_survivors", round(float(data["probability"].sum()), 1))
print(f"{len(data)} passengers scored, {data['probability'].sum():.0f} expected to survive")
