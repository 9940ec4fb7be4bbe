"""The job of each cell: says numbered lines until its child is ended, then a burst of them.

The child can be seen from outside, on whatever machine or in whatever container the job runs: it carries the mark.
"""

import os
import subprocess
import sys
import time

mark, code = sys.argv[1], int(sys.argv[2])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", mark])
number = 0
print("began", os.getpid(), flush=True)
while child.poll() is None:
    number += 1
    print(f"line {number:06d} of the work", flush=True)
    time.sleep(0.05)
for _ in range(500):
    number += 1
    print(f"line {number:06d} of the work")
print(f"end of {number} lines", flush=True)
if code:
    sys.exit(code)
