"""Single files of a snapshot that are needed before the snapshot is unpacked."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from stepwell.errors import ComputeTargetException


@dataclass(frozen=True)
class Members:
    """Some files of a snapshot, as something to transfer.

    :param archive: the snapshot.
    :param names: relative to the source directory.
    """

    archive: Path
    names: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Of their content."""
        with zipfile.ZipFile(self.archive) as packed:
            return ",".join(f"{packed.getinfo(name).CRC:08x}" for name, _ in self.files())

    def files(self) -> list[tuple[str, int]]:
        """Return names and sizes.

        :raises ComputeTargetException: the source directory has no such file.
        """
        with zipfile.ZipFile(self.archive) as packed:
            missing = [name for name in self.names if name not in packed.namelist()]
            if missing:
                raise ComputeTargetException(f"The source directory has no file {missing[0]!r}, which the step names")
            return [(name, packed.getinfo(name).file_size) for name in self.names]

    def open(self, name: str) -> BinaryIO:
        """Return a reader of one of them."""
        return cast(BinaryIO, zipfile.ZipFile(self.archive).open(name))
