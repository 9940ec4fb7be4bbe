"""Runs inside containers, given to their Python as text: looks at an image, or builds an environment in one.

Standard library only, Python 3.8: the interpreter is that of the image.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any


def look() -> dict[str, Any]:
    """Return what is known of the interpreter that runs this, and of the image around it."""
    import importlib.util
    import platform
    import sysconfig

    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    spark = importlib.util.find_spec("pyspark")
    home = list(spark.submodule_search_locations or [""])[0] if spark is not None else ""
    return {
        "python": sys.executable,
        "version": platform.python_version(),
        "prefix": sys.prefix,
        "platform": sysconfig.get_platform(),
        "cache_tag": sys.implementation.cache_tag,
        "has_azureml": any(os.path.isdir(os.path.join(path, "azureml", "core")) for path in packages),
        "path": os.environ.get("PATH", os.defpath),
        "spark_home": os.environ.get("SPARK_HOME")
        or (home if os.path.exists(os.path.join(home, "bin", "spark-submit")) else None),
        "java_home": java_home(),
        "passwd": text("/etc/passwd"),
    }


def java_home() -> str | None:
    """Return where Java is."""
    if os.environ.get("JAVA_HOME"):
        return os.environ["JAVA_HOME"]
    places = [shutil.which("java"), *sorted(glob.glob("/usr/lib/jvm/*/bin/java"))]
    found = [os.path.dirname(os.path.dirname(os.path.realpath(place))) for place in places if place]
    return found[0] if found else None


def text(path: str) -> str:
    """Return the content of a file, nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def build(order: dict[str, Any]) -> int:
    """Make the environment that *order* describes, with uv if that runs here, else with venv and pip.

    What is printed last is the facts about it, as :func:`look` returns them, and its exact packages.
    """
    if order["certificates"] and os.path.exists(order["certificates"]):
        os.environ["SSL_CERT_FILE"] = os.environ["PIP_CERT"] = order["certificates"]
    folder = order["folder"]
    python = os.path.join(folder, "bin", "python")
    with tempfile.TemporaryDirectory(dir=order["aside"]) as aside:
        wish = os.path.join(aside, "requirements.txt")
        with open(wish, "w", encoding="utf-8") as file:
            file.write("\n".join(order["requirements"]) + "\n")
        extra = list(order["options"])
        if order["constraints"]:
            with open(os.path.join(aside, "constraints.txt"), "w", encoding="utf-8") as file:
                file.write("\n".join(order["constraints"]) + "\n")
            extra += ["--constraint", os.path.join(aside, "constraints.txt")]
        uv = runs(order.get("uv"))
        if uv:
            wanted = order["python"] or sys.executable
            steps = [[uv, "venv", "--quiet", "--no-project", "--python", wanted, folder]]
            steps.append([uv, "pip", "install", "--python", python, "--compile-bytecode", *extra, "-r", wish])
            freeze = [uv, "pip", "freeze", "--quiet", "--python", python]
        else:
            print("uv does not run in this image: building with venv and pip", flush=True)
            steps = [[sys.executable, "-m", "venv", folder]]
            steps.append([python, "-m", "pip", "install", "--no-cache-dir", *extra, "-r", wish])
            freeze = [python, "-m", "pip", "freeze"]
        for argv in steps if order["requirements"] else steps[:1]:
            code = run(argv)
            if code:
                return code
        lock = subprocess.run(freeze, stdout=subprocess.PIPE, text=True).stdout
    script = order["script"]
    facts = subprocess.run([python, "-c", script, "look"], stdout=subprocess.PIPE, text=True)
    if facts.returncode:
        return facts.returncode
    print(json.dumps({"facts": json.loads(facts.stdout), "lock": lock}), flush=True)
    return 0


def runs(uv: str | None) -> str | None:
    """Return *uv* if it runs here."""
    try:
        return uv if uv and not subprocess.run([uv, "--version"], stdout=subprocess.DEVNULL).returncode else None
    except OSError:  # of another architecture, or with another C library
        return None


def run(argv: list[str]) -> int:
    """Run a program that says what it does."""
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT).returncode


if __name__ == "__main__":
    if sys.argv[1] == "look":
        print(json.dumps(look()))
    elif sys.argv[1] == "build":
        sys.exit(build(json.loads(os.environ["STEPWELL_BUILD"])))
    else:  # stay until whoever builds lets go of our input: he has done, or he has died
        sys.stdin.buffer.read()
