"""Looks around on a head node: sent there as text, and run by the Python that is there (3.8 or later, nothing else).

Prints one line of JSON: ``{"variables", "spark_submit", "spark", "defaults", "java", …}``.
Arguments: the ``spark-submit`` that was asked for ("" = look for one), and variables as JSON, which go before those of
a login.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree

#: What Hadoop and Spark go by; a login sets them, a command over SSH starts without.
NAMES = (
    "PATH", "JAVA_HOME", "SPARK_HOME", "SPARK_CONF_DIR", "SPARK_DIST_CLASSPATH", "HADOOP_HOME", "HADOOP_CONF_DIR",
    "YARN_CONF_DIR", "HADOOP_USER_NAME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "LD_LIBRARY_PATH", "LANG",
)  # fmt: skip
#: Where distributions put them.
SPARK_PLACES = ("/usr/hdp/current/spark*-client", "/opt/spark", "/usr/lib/spark", "/usr/local/spark", "/opt/*/spark*")
CONF_PLACES = ("/etc/hadoop/conf", "/opt/hadoop/etc/hadoop", "/usr/local/hadoop/etc/hadoop")
BEGIN = b"--stepwell--\0"


def login_variables() -> dict[str, str]:
    """Return the variables of a login."""
    shell = shutil.which("bash") or "/bin/sh"
    command = [shell, "-lc", "printf '%s\\0' --stepwell--; env -0"]
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=20, check=False).stdout  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        said = b""
    pairs = [item.partition(b"=") for item in said.partition(BEGIN)[2].split(b"\0")]
    found = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    known = found or dict(os.environ)
    return {name: known[name] for name in NAMES if known.get(name)}


def find_spark(asked: str, variables: dict[str, str]) -> str | None:
    """Return the path of ``spark-submit``."""
    if asked:
        return shutil.which(os.path.expanduser(asked), path=variables.get("PATH"))
    homes = [variables.get("SPARK_HOME")]
    named = [os.path.join(home, "bin", "spark-submit") for home in homes if home]
    on_path = shutil.which("spark-submit", path=variables.get("PATH"))
    placed = [path for place in SPARK_PLACES for path in sorted(glob.glob(place + "/bin/spark-submit"), reverse=True)]
    for path in [*named, *([on_path] if on_path else []), *placed]:
        if os.access(path, os.X_OK):
            return path
    return None


def home_of(spark_submit: str, variables: dict[str, str]) -> str | None:
    """Return the Spark that a ``spark-submit`` belongs to."""
    candidates = [os.path.dirname(os.path.dirname(os.path.realpath(spark_submit))), variables.get("SPARK_HOME")]
    for home in candidates:
        if home and os.path.isdir(os.path.join(home, "jars")):
            return home
    return None


def version_of(home: str) -> str | None:
    """Return the version of a Spark, by its core's jar."""
    for jar in glob.glob(os.path.join(glob.escape(home), "jars", "spark-core_*.jar")):
        return os.path.basename(jar)[: -len(".jar")].partition("-")[2].partition("-")[2]
    return None


def read_defaults(home: str, variables: dict[str, str]) -> dict[str, str]:
    """Return what the cluster's ``spark-defaults.conf`` says."""
    folder = variables.get("SPARK_CONF_DIR") or os.path.join(home, "conf")
    try:
        with open(os.path.join(folder, "spark-defaults.conf"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    matches = [re.match(r"\s*([^\s=:#!]+)(?:\s*[=:]\s*|\s+)(.*)", line) for line in lines]
    return {match.group(1): match.group(2).strip() for match in matches if match}


def java_version(variables: dict[str, str]) -> str | None:
    """Return the version of the Java that Spark will run on."""
    home = variables.get("JAVA_HOME")
    program = os.path.join(home, "bin", "java") if home else shutil.which("java", path=variables.get("PATH"))
    if not program or not os.access(program, os.X_OK):
        return None
    try:
        with open(os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(program))), "release")) as file:
            match = re.search(r'^JAVA_VERSION="([^"]+)"', file.read(), re.MULTILINE)
    except (OSError, UnicodeDecodeError):
        match = None
    if match is None:
        done = subprocess.run([program, "-version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=30, check=False)  # fmt: skip
        match = re.search(r'version "([^"]+)"', done.stdout.decode("utf-8", "replace"))
    return match.group(1) if match else None


def read_site(path: str) -> dict[str, str]:
    """Return the properties of a ``…-site.xml``."""
    try:
        root = xml.etree.ElementTree.parse(path).getroot()  # noqa: S314 - the head node's own configuration
    except (OSError, xml.etree.ElementTree.ParseError):
        return {}
    pairs = [(one.findtext("name"), one.findtext("value")) for one in root.iter("property")]
    return {name.strip(): (value or "").strip() for name, value in pairs if name}


def expand(text: str, site: dict[str, str]) -> str:
    """Return *text* with ``${names}`` of other properties replaced, as Hadoop does."""
    for _ in range(20):
        wider = re.sub(r"\$\{([^}$ ]+)\}", lambda match: site.get(match.group(1), match.group(0)), text)
        if wider == text:
            break
        text = wider
    return text


def resource_managers(site: dict[str, str]) -> list[str]:
    """Return the addresses of the ResourceManager's REST, or of several."""
    prefix = "yarn.resourcemanager."
    is_secure = site.get("yarn.http.policy", "") == "HTTPS_ONLY"
    address, scheme, port = ("webapp.https.address", "https", 8090) if is_secure else ("webapp.address", "http", 8088)
    ids = [name.strip() for name in site.get(prefix + "ha.rm-ids", "").split(",") if name.strip()]
    found = []
    for suffix in ["." + name for name in ids] or [""]:
        host = site.get(prefix + "hostname" + suffix) or site.get(prefix + "hostname") or "localhost"
        text = expand(site.get(prefix + address + suffix) or f"{host}:{port}", site)
        host = text.replace("0.0.0.0", "localhost")  # noqa: S104 - read, not bound to
        found.append(f"{scheme}://{host}")
    return found


def look(asked: str, given: dict[str, str]) -> dict[str, object]:
    """Return what is here."""
    variables = {**login_variables(), **given}
    if not (variables.get("HADOOP_CONF_DIR") or variables.get("YARN_CONF_DIR")):
        places = [os.path.join(variables["HADOOP_HOME"], "etc", "hadoop")] if variables.get("HADOOP_HOME") else []
        for place in [*places, *CONF_PLACES]:
            if os.path.isfile(os.path.join(place, "yarn-site.xml")):
                variables["HADOOP_CONF_DIR"] = place
                break
    folders = [variables[name] for name in ("YARN_CONF_DIR", "HADOOP_CONF_DIR") if variables.get(name)]
    site = {}
    for folder in reversed(folders):
        for name in ("core-site.xml", "yarn-site.xml"):
            site.update(read_site(os.path.join(folder, name)))
    spark_submit = find_spark(asked, variables)
    home = home_of(spark_submit, variables) if spark_submit else None
    if home:
        variables["SPARK_HOME"] = home
    return {
        "variables": variables,
        "spark_submit": spark_submit,
        "spark": version_of(home) if home else None,
        "defaults": read_defaults(home, variables) if home else {},
        "java": java_version(variables),
        "hadoop_conf": folders[0] if folders else None,
        "default_fs": expand(site.get("fs.defaultFS", ""), site) or None,
        "kerberos": site.get("hadoop.security.authentication", "simple").lower() == "kerberos",
        "yarn": resource_managers(site) if any(name.startswith("yarn.") for name in site) else [],
        "python": ".".join(map(str, sys.version_info[:3])),
        "now": time.time(),
    }


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], json.loads(sys.argv[2]))))
