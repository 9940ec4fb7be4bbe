"""The health check of Airflow's containers: ``health.py scheduler``. Status 0: healthy.

Airflow's own commands import all of Airflow for each check of each container, and Docker lets those go on that take too
long: on a busy machine they pile up. This asks Airflow's public page of health, and Celery's worker itself.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request

PAGE = "http://api-server:8080/api/v2/monitor/health"
SECONDS = 8.0


def main(service: str) -> int:
    """Return 0 if the service is healthy."""
    if service == "worker":
        return 0 if worker() else 1
    with urllib.request.urlopen(PAGE, timeout=SECONDS) as answer:
        said = json.load(answer)
    if service == "api-server":  # it has answered; what of the others is their own affair
        return 0
    status = said[service.replace("-", "_")]["status"]
    print(status)
    return 0 if status == "healthy" else 1


def worker() -> bool:
    """Whether this container's worker answers."""
    from celery import Celery

    app = Celery(broker=os.environ["AIRFLOW__CELERY__BROKER_URL"])
    answers = app.control.inspect(destination=[f"celery@{socket.gethostname()}"], timeout=SECONDS).ping()
    print(answers)
    return bool(answers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
