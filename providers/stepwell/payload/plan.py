"""The lazy plan of a dataset, carried out on a pandas or a Spark frame, or on the list of files of a file dataset."""

from __future__ import annotations

from typing import Any, Dict, Sequence

from stepwell.payload.errors import ReadError
from stepwell.payload.expressions import check_columns, keep_pandas, keep_spark

Operation = Dict[str, Any]


def run_pandas(frame: Any, plan: Sequence[Operation]) -> Any:
    """Return what the *plan* makes of a pandas *frame*; rows keep their order and are numbered anew.

    :raises ReadError: an operation names a column that is not there.
    """
    changed = False
    for step in plan:
        op = step["op"]
        if op in ("keep_columns", "drop_columns"):
            frame = frame[_columns(step, list(frame.columns))]
            continue
        changed = True
        if op == "filter":
            frame = keep_pandas(frame, step["expression"])
        elif op == "take":
            frame = frame.iloc[: step["count"]]
        elif op == "skip":
            frame = frame.iloc[step["count"] :]
        elif op == "sample":
            frame = frame[_draw(len(frame), step["seed"]) < step["probability"]]
        elif op == "split":
            left = _draw(len(frame), step["seed"]) < step["percentage"]
            frame = frame[left if step["part"] == "left" else ~left]
        else:
            raise _unknown(op)
    return frame.reset_index(drop=True) if changed else frame


def run_spark(frame: Any, plan: Sequence[Operation]) -> Any:
    """Return what the *plan* makes of a Spark *frame*, lazily.

    Sampling and splitting draw per partition, so the rows are not the ones that pandas draws; the two parts of a
    split are complementary as long as the files are the same.

    :raises ReadError: an operation names a column that is not there.
    """
    for step in plan:
        op = step["op"]
        if op in ("keep_columns", "drop_columns"):
            frame = frame.select(["`" + c.replace("`", "``") + "`" for c in _columns(step, frame.columns)])
        elif op == "filter":
            frame = keep_spark(frame, step["expression"])
        elif op == "take":
            frame = frame.limit(step["count"])
        elif op == "skip":
            frame = frame.offset(step["count"])
        elif op == "sample":
            frame = frame.sample(withReplacement=False, fraction=step["probability"], seed=step["seed"] or 0)
        elif op == "split":
            share, seed = step["percentage"], step["seed"] or 0
            if share in (0.0, 1.0):  # randomSplit refuses a weight of zero for both parts to add up
                frame = frame if (share == 1.0) == (step["part"] == "left") else frame.limit(0)
            else:
                left, right = frame.randomSplit([share, 1.0 - share], seed=seed)
                frame = left if step["part"] == "left" else right
        else:
            raise _unknown(op)
    return frame


def run_files(files: Sequence[str], plan: Sequence[Operation]) -> list[str]:
    """Return the files that the *plan* of a file dataset leaves.

    :raises ReadError: an operation is about columns or rows.
    """
    import random

    left_over = list(files)
    for step in plan:
        op = step["op"]
        if op == "take":
            left_over = left_over[: step["count"]]
        elif op == "skip":
            left_over = left_over[step["count"] :]
        elif op in ("sample", "split"):
            draw = random.Random(step["seed"] or 0)
            share = step["probability"] if op == "sample" else step["percentage"]
            drawn = [draw.random() < share for _ in left_over]
            wanted = op == "sample" or step["part"] == "left"
            left_over = [f for f, hit in zip(left_over, drawn) if hit == wanted]
        else:
            raise ReadError(f"{op} is not possible on files", allowed=["take", "skip", "sample", "split"])
    return left_over


def _columns(step: Operation, there: list[str]) -> list[str]:
    check_columns(step["op"], step["columns"], there)
    wanted = set(step["columns"])
    return [c for c in there if (c in wanted) == (step["op"] == "keep_columns")]


def _draw(count: int, seed: Any) -> Any:
    import numpy as np

    return np.random.default_rng(seed or 0).random(count)


def _unknown(op: object) -> ReadError:
    known = ["keep_columns", "drop_columns", "filter", "take", "skip", "sample", "split"]
    return ReadError(f"{op!r} is not an operation of a dataset's plan", allowed=known)
