"""``python -m stepwell.cli``."""

from __future__ import annotations

from stepwell.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
