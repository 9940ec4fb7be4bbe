"""Write ``.env`` with secrets for docker-compose.yaml, once: ``make compose-env``. Standard library only."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / ".env"


def content() -> str:
    """Fresh secrets, one per line."""
    return "".join(
        f"{name}={value}\n"
        for name, value in {
            "POSTGRES_PASSWORD": secrets.token_urlsafe(24),
            "REDIS_PASSWORD": secrets.token_urlsafe(24),
            "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "AIRFLOW_JWT_SECRET": secrets.token_urlsafe(48),
            "AIRFLOW_API_SECRET_KEY": secrets.token_urlsafe(32),
        }.items()
    )


def main() -> int:
    """Never overwrites: what Postgres and Airflow have stored was written with the secrets that are there."""
    try:
        descriptor = os.open(FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"stepwell: {FILE.name} is there already and stays as it is")
        return 0
    with os.fdopen(descriptor, "w") as out:
        out.write(content())
    print(f"stepwell: wrote {FILE.name} (readable by you only, not in git); now: docker compose up --build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
