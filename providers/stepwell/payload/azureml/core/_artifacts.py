"""Files of a run: uploads go below ``./outputs``, which is kept whatever becomes of the step."""

from __future__ import annotations

import os
import shutil
from typing import Any, Iterable

from stepwell.payload.context import JobContext
from stepwell.runtime.errors import UserErrorException
from stepwell.runtime.names import check_below


class Artifacts:
    """The file methods of a run."""

    _job: JobContext

    def upload_file(self, name: str, path_or_stream: Any, datastore_name: str | None = None) -> None:
        """Keep a file with the run under *name*.

        :param path_or_stream: path of a local file, or a binary stream.
        :raises UserErrorException: the name is taken, leaves the run's folder, or there is no such file.
        """
        if hasattr(path_or_stream, "read"):
            content = path_or_stream.read()
            self._store(name, content=content.encode("utf-8") if isinstance(content, str) else content)
        else:
            self._store(name, path=os.fspath(path_or_stream))

    def upload_files(
        self, names: Iterable[str], paths: Iterable[str], return_artifacts: bool = False, timeout_seconds: Any = None
    ) -> None:
        """Keep several files with the run."""
        names, paths = list(names), list(paths)
        if len(names) != len(paths):
            raise UserErrorException(f"upload_files has {len(names)} names for {len(paths)} paths")
        for name, path in zip(names, paths):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str, datastore_name: str | None = None) -> None:
        """Keep a folder's files with the run, below *name*."""
        if not os.path.isdir(path):
            raise UserErrorException(f"upload_folder: {path!r} is not a folder")
        for folder, _, files in os.walk(path):
            for file in sorted(files):
                source = os.path.join(folder, file)
                self.upload_file("/".join([name.rstrip("/"), *os.path.relpath(source, path).split(os.sep)]), source)

    def get_file_names(self) -> list[str]:
        """Return the names of the run's files: everything in ``outputs`` and ``logs``."""
        root = self._job.paths.code
        return sorted(
            os.path.relpath(os.path.join(folder, file), root).replace(os.sep, "/")
            for top in ("outputs", "logs")
            for folder, _, files in os.walk(os.path.join(root, top))
            for file in files
        )

    def download_file(self, name: str, output_file_path: str | None = None, **_: Any) -> str:
        """Copy a file of the run and return where it is.

        :raises UserErrorException: the run has no such file.
        """
        source = self._path_of(name)
        if not os.path.isfile(source):
            raise UserErrorException(f"The run has no file {name!r}", allowed=self.get_file_names())
        target = output_file_path or os.path.basename(name)
        if os.path.isdir(target) or target.endswith("/"):
            target = os.path.join(target, os.path.basename(name))
        os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
        shutil.copyfile(source, target)
        return target

    def _path_of(self, name: str) -> str:
        """Where an artifact is: names below outputs/ and logs/ as they are, others below outputs/."""
        below = check_below("file name", name)
        top = below.split("/", 1)[0]
        return os.path.join(
            self._job.paths.code, *([] if top in ("outputs", "logs") else ["outputs"]), *below.split("/")
        )

    def _store(self, name: str, path: str | None = None, content: bytes | None = None) -> str:
        target = self._path_of(name)
        if path is not None:
            if not os.path.isfile(path):
                raise UserErrorException(f"upload_file({name!r}): there is no file {path!r}")
            if os.path.exists(target) and os.path.samefile(path, target):
                return self._noted(target)
        if os.path.exists(target):
            raise UserErrorException(
                f"The run has a file {name!r} already", hint="Files of a run are not replaced: use another name"
            )
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if path is not None:
            shutil.copyfile(path, target)
        else:
            with open(target, "wb") as file:
                file.write(content or b"")
        return self._noted(target)

    def _noted(self, target: str) -> str:
        name = os.path.relpath(target, self._job.paths.code).replace(os.sep, "/")
        self._job.emit("artifact", name=name, path=f"code/{name}", size=os.path.getsize(target))
        return name
