"""Count survivors by class: read the file that was downloaded, write one small table. Standard library only."""

import csv
import os
import sys

from azureml.core import Run

source, target = sys.argv[1], sys.argv[2]
assert source == os.environ["passengers"], "an input's value comes as an argument and as a variable"

counts: dict = {}
with open(source, newline="") as file:
    for row in csv.DictReader(file):
        all_of_class, survivors = counts.get(row["Pclass"], (0, 0))
        counts[row["Pclass"]] = (all_of_class + 1, survivors + int(row["Survived"]))

run = Run.get_context()
with open(os.path.join(target, "survival.csv"), "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["Pclass", "Passengers", "Survived"])
    for name, (all_of_class, survivors) in sorted(counts.items()):
        table.writerow([name, all_of_class, survivors])
        run.log_row("survival", pclass=name, share=round(survivors / all_of_class, 3))
run.log("passengers", sum(c[0] for c in counts.values()))
print(f"{os.environ['GREETING']}: {len(counts)} classes counted")
