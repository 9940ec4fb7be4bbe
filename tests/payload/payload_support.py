"""Jobs as core would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stepwell.runtime.definition import content_id, make

PROJECT = Path(__file__).resolve().parents[2]

#: Rows like the Titanic's: quotes in names, a missing age, a missing port.
PASSENGERS = '''PassengerId,Survived,Name,Sex,Age,Fare,Cabin,Embarked
1,0,"Braund, Mr. Owen Harris",male,22,7.25,,S
2,1,"Cumings, Mrs. John (Florence)",female,38,71.2833,C85,C
3,1,"McGowan, Miss. Anna ""Annie""",female,15,8.0292,,Q
4,0,"Moran, Mr. James",male,,8.4583,,
'''


def delimited(path: str = "passengers.csv", **options: Any) -> dict[str, Any]:
    return make("tabular", "delimited", [{"datastore": "store", "path": path}], options)


class Job:
    """A job directory with the passengers as a direct and as a file input."""

    def __init__(self, directory: Path, data: Path) -> None:
        self.directory = directory
        self.data = data
        self.definition = make("tabular", "delimited", [{"datastore": "store", "path": data.name}])
        self.id = content_id(self.definition)
        files = make("file", None, [{"datastore": "store", "path": data.name}])
        self.file_id = content_id(files)
        self.output = directory / "out"
        (directory / "code").mkdir(parents=True)
        self.document: dict[str, Any] = {
            "format": 1,
            "job_id": "job-1",
            "run_id": "run-1",
            "owner": "me",
            "step": {"name": "prep", "dag_id": "titanic", "task_id": "prep", "dag_run_id": "dagrun-1", "try_number": 2},
            "workspace": {"name": "house", "uuid": "u-1"},
            "secret_names": ["TOKEN"],
            "phases": [],
            "inputs": {
                "tabular_input": {"mode": "direct", "value": self.id, "id": self.id},
                "file_input": {"mode": "hdfs", "value": data.as_uri(), "id": self.file_id},
            },
            "outputs": {"registered_dataset": {"mode": "hdfs", "value": self.output.as_uri()}},
            "datasets": {
                self.id: {"name": "passengers", "version": 3, "definition": self.definition, "files": [data.as_uri()]},
                self.file_id: {"name": None, "version": None, "definition": files, "files": [data.as_uri()]},
            },
            "gates": [],
        }

    def script(self, text: str, arguments: list[str] | None = None) -> Path:
        path = self.directory / "code" / "dataprep.py"
        path.write_text(text, encoding="utf-8")
        self.document["main"] = {"script": str(path), "arguments": arguments or []}
        self.write()
        return path

    def write(self) -> Job:
        (self.directory / "job.json").write_text(json.dumps(self.document), encoding="utf-8")
        return self

    def gate(self, *expectations: dict[str, Any], engine: str = "pandas", **more: Any) -> dict[str, Any]:
        gate = {
            "name": "registered_dataset", "location": self.output.as_uri(), "files": None, "plan": [], "engine": engine,
            "read": {"format": "auto", "options": {}}, "samples": False, "suite_name": "prepared",
            "suite": {"name": "prepared", "expectations": list(expectations)}, **more,
        }  # fmt: skip
        self.document["gates"].append(gate)
        self.write()
        return gate

    def events(self) -> list[dict[str, Any]]:
        from stepwell.runtime.protocol import read_events

        return read_events(str(self.directory / "events"))

    def verdict(self, name: str = "registered_dataset") -> dict[str, Any]:
        return json.loads((self.directory / "gates" / f"{name}.json").read_text(encoding="utf-8"))
