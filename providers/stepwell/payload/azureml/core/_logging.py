"""``run.log…``: what may be logged, and in which form it is recorded."""

from __future__ import annotations

import io
import json
import time
from typing import Any, Mapping, Sequence

from stepwell.payload import metrics
from stepwell.runtime.errors import UserErrorException

from ..exceptions import InvalidColumnData, InvalidColumnLength

_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"BM", b"RIFF", b"II*\x00", b"MM\x00*")


class MetricMethods:
    """The ``log`` methods, over two things that a run provides: :meth:`_metric` and :meth:`_store`."""

    def log(self, name: str, value: Any, description: str = "", step: int | None = None) -> None:
        """Log a number, text or boolean; several calls with one name make a series.

        :param step: position in the series, for all values of a name or for none.
        """
        self._metric("scalar", _name(name), metrics.plain(value), description=description, step=step)

    def log_list(self, name: str, value: Sequence[Any], description: str = "") -> None:
        """Log a list of scalars; an empty one logs nothing."""
        values = [metrics.plain(v) for v in _listed(name, value)]
        if values:
            self._metric("list", _name(name), values, description=description)

    def log_row(self, name: str, description: str | None = None, **kwargs: Any) -> None:
        """Log one row of a table, a column for each keyword."""
        if not kwargs:
            raise UserErrorException(f"log_row({name!r}) has no columns", hint="Write run.log_row('name', x=1, y=2)")
        self._metric("row", _name(name), {k: metrics.plain(v) for k, v in kwargs.items()}, description=description)

    def log_table(self, name: str, value: Mapping[str, Sequence[Any]], description: str = "") -> None:
        """Log a table: column name → list, all of one length.

        :raises InvalidColumnLength: the lists are not equally long.
        :raises InvalidColumnData: a column is not a list.
        """
        columns: dict[str, list[Any]] = {}
        for column, cells in value.items():
            if isinstance(cells, (str, bytes)) or not hasattr(cells, "__iter__"):
                raise InvalidColumnData(f"The column {column!r} of table {name!r} is {cells!r}, not a list")
            columns[str(column)] = [metrics.plain(c) for c in cells]
        lengths = {column: len(cells) for column, cells in columns.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{column}: {length}" for column, length in lengths.items())
            raise InvalidColumnLength(f"The columns of table {name!r} are not equally long ({shown})")
        self._metric("table", _name(name), columns, description=description)

    def log_image(self, name: str, path: str | None = None, plot: Any = None, description: str = "") -> None:
        """Log an image file, or a matplotlib figure (or ``pyplot`` itself).

        :raises UserErrorException: not exactly one of the two is given, or the file is not an image.
        """
        if (path is None) == (plot is None):
            raise UserErrorException(f"log_image({name!r}) needs exactly one of path and plot")
        if plot is not None:
            buffer = io.BytesIO()
            plot.savefig(buffer, format="png", bbox_inches="tight")
            artifact = self._store(f"{name}_{int(time.time())}.png", content=buffer.getvalue())
        else:
            try:
                with open(str(path), "rb") as file:
                    start = file.read(16)
            except OSError as error:
                raise UserErrorException(f"The image {path!r} cannot be read ({error})") from error
            if not start.startswith(_IMAGES) and b"<svg" not in start:
                raise UserErrorException(
                    f"The file {path!r} is not an image", allowed=["png", "jpeg", "gif", "bmp", "tiff"]
                )
            artifact = self._store(str(path).replace("\\", "/").rsplit("/", 1)[-1], path=str(path))
        self._metric("image", _name(name), None, description=description, artifact=artifact)

    def log_confusion_matrix(self, name: str, value: Any, description: str = "") -> None:
        """Log a confusion matrix (v1's JSON: ``class_labels`` and ``matrix``)."""
        self._chart("confusion_matrix", name, value, ("class_labels", "matrix"), description)

    def log_accuracy_table(self, name: str, value: Any, description: str = "") -> None:
        """Log an accuracy table (v1's JSON: ``probability_tables``, …)."""
        needed = (
            "probability_tables",
            "percentile_tables",
            "probability_thresholds",
            "percentile_thresholds",
            "class_labels",
        )
        self._chart("accuracy_table", name, value, needed, description)

    def log_residuals(self, name: str, value: Any, description: str = "") -> None:
        """Log residuals (v1's JSON: ``bin_edges`` and ``bin_counts``)."""
        self._chart("residuals", name, value, ("bin_edges", "bin_counts"), description)

    def log_predictions(self, name: str, value: Any, description: str = "") -> None:
        """Log predictions (v1's JSON: ``bin_averages``, …)."""
        self._chart("predictions", name, value, ("bin_averages", "bin_errors", "bin_counts", "bin_edges"), description)

    def _chart(self, type: str, name: str, value: Any, needed: Sequence[str], description: str) -> None:
        try:
            parsed = json.loads(value) if isinstance(value, str) else json.loads(json.dumps(value, default=_jsonable))
            data = parsed["data"]
            missing = [key for key in needed if key not in data]
        except (ValueError, TypeError, KeyError) as error:
            raise UserErrorException(
                f"The {type} {name!r} does not have v1's form ({error!r})",
                allowed=[f'{{"schema_type": "{type}", "schema_version": …, "data": {{{", ".join(needed)}}}}}'],
            ) from error
        if parsed.get("schema_type") != type or missing:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has schema_type {parsed.get('schema_type')!r}"
            raise UserErrorException(f"The {type} {name!r} {wrong}", allowed=needed)
        artifact = self._store(f"{name}.json", content=json.dumps(parsed).encode("utf-8"))
        self._metric(type, _name(name), parsed, description=description, artifact=artifact)

    def _metric(self, type: str, name: str, value: Any, **more: Any) -> None:
        self._emit("metric", type=type, name=name, value=value, step=more.pop("step", None), **more)

    def _emit(self, kind: str, **fields: Any) -> None:
        raise NotImplementedError

    def _store(self, name: str, path: str | None = None, content: bytes | None = None) -> str:
        raise NotImplementedError


def _name(name: Any) -> str:
    text = str(name)
    if not 0 < len(text) <= 255:
        raise UserErrorException(f"{text[:40]!r}… is not a metric name", hint="A metric's name has 1 to 255 characters")
    return text


def _listed(name: str, value: Sequence[Any] | Any) -> list[Any]:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        raise UserErrorException(f"log_list({name!r}) needs a list, not {value!r}", hint="Use run.log for one value")
    return list(value)


def _jsonable(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)
