"""Write a small file into the folder that is the last argument."""

import os
import sys

with open(os.path.join(sys.argv[-1], "made.csv"), "w") as file:
    file.write("number,square\n" + "".join(f"{n},{n * n}\n" for n in range(100)))
