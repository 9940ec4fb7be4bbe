"""Fit a learner to all rows as a worker does, and print the peak memory: ``automl_all_rows.py REQUEST LEARNER``.

The request is one of a search that has tried the learner: the parameters are those of its first trial.
"""

import json
import sys

from stepwell.payload.automl.engines import engine_of
from stepwell.payload.automl.learning import metrics_of, predict
from stepwell.payload.automl.problem import Problem
from stepwell.payload.automl.request import Request
from stepwell.payload.automl.search import read_history

request, learner = Request.read(sys.argv[1]), sys.argv[2]
tried = [t for t in read_history(request.results) if t.learner == learner]
problem = Problem.load(f"{request.work}/problem", "search.")
learn, judge = (slice(int(part[0]), int(part[-1]) + 1) for part in problem.folds[0])
fitted = engine_of("flaml").fit(problem, learner, tried[0].parameters if tried else {}, learn)
metrics_of(problem, problem.y[judge], predict(fitted, problem.X.iloc[judge], problem))
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(json.dumps(int(peak.split()[1]) * 1024 / 1e6))
