"""Run a DAG and print the most memory that this process, in which its tasks run, has had: ``peak_memory.py DAG``."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import dags  # noqa: E402

dags.run(dags.load(sys.argv[1]))
with open("/proc/self/status") as status:
    peak = next(line for line in status if line.startswith("VmHWM:"))
print(json.dumps(int(peak.split()[1]) * 1024))
