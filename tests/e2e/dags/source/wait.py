import os
import subprocess
import sys
import time

output, folder = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # a job may have children
with open(os.path.join(folder, "starts"), "a") as file:
    file.write(f"{os.getpid()} {child.pid}\n")
print("waiting", flush=True)
while not os.path.exists(os.path.join(folder, "go")):
    time.sleep(0.05)
child.kill()
os.makedirs(output, exist_ok=True)
with open(os.path.join(output, "words.txt"), "w") as file:
    file.write("done")
print("went on", flush=True)
