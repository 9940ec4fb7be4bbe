"""Copy a file into a folder: ``copy_file.py FILE FOLDER``."""

import os
import shutil
import sys

file, folder = sys.argv[1:]
shutil.copyfile(file, os.path.join(folder, "copy.bin"))
