"""Forks a process for each search of a test, so that each need not load the libraries: ``python -m automl_forker``.

Reads lines of ``[argument of the search's process, folder for its output]``, answers each with the exit code.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path


def main() -> None:
    import mlflow.sklearn  # noqa: F401

    from stepwell.payload.automl import engines, finish, preparing, report, search, server  # noqa: F401

    engines.engine_of("flaml")
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _search(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _search(asked: str, folder: str) -> None:
    from stepwell.payload.automl import main

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(folder, name), os.O_CREAT | os.O_WRONLY), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        code = main.main([asked])
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
