"""The run of a script that is run by hand."""

from __future__ import annotations

import time
import uuid
from typing import Any, Iterable, Mapping

from stepwell.payload import metrics
from stepwell.runtime.errors import UserErrorException

from .._not_built import says_what_is_not_built
from ._logging import MetricMethods
from .experiment import Experiment
from .keyvault import Keyvault
from .workspace import Workspace


@says_what_is_not_built("run")
class _OfflineRun(MetricMethods):
    """The run of a script that is run by hand: everything is printed, nothing kept beyond this process."""

    def __init__(self, run_id: str | None = None, parent: _OfflineRun | None = None) -> None:
        self.id = run_id or f"OfflineRun_{uuid.uuid4()}"
        self.parent = parent
        self._noted: list[dict[str, Any]] = []
        self.input_datasets: dict[str, Any] = {}
        self.output_datasets: dict[str, Any] = {}
        self.status = "Running"
        self.number = 0
        self.type = "azureml.scriptrun"
        self.description: str | None = None
        self._children: list[_OfflineRun] = []
        self.name = self.display_name = self.id

    @property
    def experiment(self) -> Experiment:
        """An experiment without a name that matters."""
        return Experiment(Workspace(), "offline")

    def child_run(self, name: str | None = None, **_: Any) -> _OfflineRun:
        """Return a child that prints as well."""
        child = _OfflineRun(f"{self.id}.{name or uuid.uuid4()}", parent=self)
        self._children.append(child)
        return child

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Iterable[Any] | None = None
    ) -> list[_OfflineRun]:
        """Return several children that print as well: *count* of them, or one for each of *tag_values*.

        :raises UserErrorException: not exactly one of the two is given.
        """
        values = list(tag_values or ())
        if (count is None) == (tag_key is None or tag_values is None):
            raise UserErrorException("create_children needs either count, or tag_key and tag_values")
        if count is not None:
            return [self.child_run() for _ in range(count)]
        children = [self.child_run() for _ in values]
        for child, value in zip(children, values):
            child.tag(str(tag_key), value)
        return children

    def get_children(self, recursive: bool = False, **_: Any) -> Iterable[_OfflineRun]:
        """Yield the children, the newest first."""
        for child in reversed(self._children):
            yield child
            if recursive:
                yield from child.get_children(recursive=True)

    def get_metrics(self, name: str | None = None, **_: Any) -> dict[str, Any]:
        """Return what was logged in this process."""
        return metrics.metrics(self._noted, name)

    def tag(self, key: str, value: Any = None) -> None:
        """Print and note a tag."""
        self._print("tag", key, value, key=key, value=value)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Print and note tags."""
        for key, value in tags.items():
            self.tag(key, value)

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Print and forget tags."""
        for key in [tags] if isinstance(tags, str) else list(tags):
            print(f"Attempted to remove tag {key}")
            self._noted.append({"kind": "tag", "t": time.time(), "key": key, "value": None, "removed": True})

    def get_tags(self) -> dict[str, Any]:
        """Return the tags noted."""
        return metrics.tags(self._noted)

    tags = property(get_tags)

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Print and note properties."""
        for key, value in properties.items():
            self._print("property", key, value, key=key, value=value)

    def get_properties(self) -> dict[str, Any]:
        """Return the properties noted."""
        return metrics.properties(self._noted)

    properties = property(get_properties)

    def upload_file(self, name: str, path_or_stream: Any, **_: Any) -> None:
        """Print what would be uploaded."""
        print(f"Attempted to upload file {name}: {path_or_stream}")

    def upload_files(self, names: Iterable[str], paths: Iterable[str], **_: Any) -> None:
        """Print what would be uploaded."""
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, **_: Any) -> None:
        """Print what would be uploaded."""
        print(f"Attempted to upload folder {name}: {path}")

    def get_file_names(self) -> list[str]:
        """Return nothing: an offline run keeps no files."""
        return []

    def register_model(self, model_name: str, model_path: str | None = None, **_: Any) -> None:
        """Print what would be registered."""
        print(f"Attempted to register model {model_name}: {model_path or model_name}")

    def get_secret(self, name: str) -> str:
        """Return a secret from the environment."""
        return Keyvault().get_secret(name)

    def get_secrets(self, secrets: Iterable[str]) -> dict[str, str]:
        """Return secrets from the environment."""
        return Keyvault().get_secrets(secrets)

    def get_details(self) -> dict[str, Any]:
        """Return the id and the status."""
        return {"runId": self.id, "target": "local", "status": self.status}

    def get_status(self) -> str:
        """Return the status."""
        return self.status

    def start(self) -> None:
        """Mark as running."""
        self.status = "Running"

    def complete(self, **_: Any) -> None:
        """Mark as completed."""
        self.status = "Completed"

    def fail(self, *_: Any, **__: Any) -> None:
        """Mark as failed."""
        self.status = "Failed"

    def cancel(self) -> None:
        """Mark as cancelled."""
        self.status = "Canceled"

    def flush(self, timeout_seconds: int = 300) -> None:
        """Nothing to do."""

    def __enter__(self) -> _OfflineRun:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.status = "Completed" if error is None else "Failed"

    def _print(self, kind: str, name: str, shown: Any, **fields: Any) -> None:
        print(f"Attempted to log {kind} {name}:\n{shown}")
        self._noted.append({"kind": kind, "t": time.time(), **fields})

    def _metric(self, type: str, name: str, value: Any, **more: Any) -> None:
        self._print_metric(type, name, value)
        self._noted.append({"kind": "metric", "type": type, "name": name, "value": value, "t": time.time(), **more})

    @staticmethod
    def _print_metric(type: str, name: str, value: Any) -> None:
        print(f"Attempted to log {type} metric {name}:\n{value}")

    def _store(self, name: str, path: str | None = None, content: bytes | None = None) -> str:
        return name
