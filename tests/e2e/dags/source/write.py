import os
import sys

folder, *words = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "words.txt"), "w") as file:
    file.write(" ".join(words))
