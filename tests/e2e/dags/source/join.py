import os
import sys

left, right, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "both.txt"), "w") as file:
    for side in (left, right):
        with open(os.path.join(side, "words.txt")) as words:
            line = words.read()
        print("joined", line, flush=True)
        file.write(line + "\n")
