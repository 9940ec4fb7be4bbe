"""What tabular and file datasets share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from stepwell.data import labels, manifests, registry
from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.version import DatasetVersion
from stepwell.errors import DatasetError, UserErrorException
from stepwell.not_built import says_what_is_not_built
from stepwell.runtime import definition as definitions
from stepwell.runtime.names import check_name
from stepwell.workspace.workspace import Workspace, plain, resolve_workspace, same_workspace

Self = TypeVar("Self", bound="AbstractDataset")


@says_what_is_not_built("dataset")
class AbstractDataset:
    """What tabular and file datasets share.

    A dataset is a definition (made by ``Dataset.Tabular.from_…``), or a registered version (by name), or a definition
    made from a registered version by operations; the last two read the files that were pinned, and no others.
    """

    kind: str = ""

    def __init__(
        self,
        definition: Mapping[str, Any] | None = None,
        *,
        workspace: Workspace | None = None,
        name: str | None = None,
        version: int | str | None = None,
        source: DatasetVersion | None = None,
    ) -> None:
        self._given = None if definition is None else dict(definition)
        self._workspace = workspace
        self._default = resolve_workspace(None)  # apart: that nobody named one must not depend on what was looked up
        self._name = name
        self._wanted = version
        self._source = source

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def definition(self) -> dict[str, Any]:
        """The definition as plain data. (A dataset by name is looked up for it; so is the default datastore's name.)"""
        return registry.named(self.workspace, self._plain())

    def _plain(self) -> dict[str, Any]:
        """Return the definition as it was given; a default datastore in it is not looked up."""
        if self._given is None:
            self._given = dict(self._registered().definition)
        return self._given

    @property
    def id(self) -> str:
        """A registered version's own id; else the id of the definition, with the version that it was made from."""
        if self._name is not None:
            return self._registered().id
        base = self._source
        return manifests.identity(self.definition, (str(base.name), int(base.version or 0)) if base else None)

    @property
    def name(self) -> str | None:
        """The name that it is registered under, or ``None``."""
        return self._name

    @property
    def version(self) -> int | None:
        """The number of the version, or ``None`` if it is not registered."""
        return self._registered().version if self._name else None

    @property
    def tags(self) -> dict[str, str]:
        """The version's tags, as they are now."""
        return dict(self._labels()["tags"]) if self._name else {}

    @property
    def description(self) -> str | None:
        """The version's description, as it is now."""
        return cast("str | None", self._labels()["description"]) if self._name else None

    def _labels(self) -> dict[str, Any]:
        return labels.read(self.workspace, self._registered())

    def add_tags(self: Self, tags: Mapping[str, str]) -> Self:
        """Add *tags* to the registered version (a tag of that name gets the new value); return this dataset.

        :raises DatasetError: it is not registered.
        """
        return self._label(add=tags)

    def remove_tags(self: Self, tags: Iterable[str]) -> Self:
        """Remove the tags with these names from the registered version; return this dataset.

        :raises DatasetError: it is not registered.
        """
        return self._label(remove=tags)

    def update(self: Self, description: str | None = None, tags: Mapping[str, str] | None = None) -> Self:
        """Give the registered version another description, or other tags in place of those that it has.

        :raises DatasetError: it is not registered.
        """
        return self._label(description=description, replace=tags)

    def _label(self: Self, **changes: Any) -> Self:
        if self._name is None:
            raise _not_registered()
        labels.change(self.workspace, self._registered(), **changes)
        return self

    @property
    def workspace(self) -> Workspace:
        """The workspace that it is looked up in: the one that was named, else the default one."""
        return self._workspace or self._default

    def _registered(self) -> DatasetVersion:
        if self._source is None:
            if self._name is None:
                raise _not_registered()
            self._source = registry.get(self.workspace, self._name, self._wanted)
            if self.kind and self._source.kind != self.kind:
                raise DatasetError(
                    f"The dataset {self._name!r} is a {self._source.kind} dataset, not a {self.kind} one"
                )
        return self._source

    def pinned(self, workspace: Workspace | str | None = None) -> DatasetVersion:
        """Return it with its files pinned: the registered version, or what the definition means now.

        :raises UserErrorException: *workspace* is another one than the dataset's.
        :raises DatasetError: a path does not exist, or a pattern matches nothing.
        :raises DatasetChangedError: files of the registered version (that this is, or was made from) have changed.
        """
        ws = self._in(workspace)
        if self._name is None and self._source is None:
            return registry.unregistered(ws, self._plain())
        source = self._registered()
        if self._name is not None:
            registry.verify(ws, source)
            return source
        return registry.unregistered(ws, self._plain(), {"name": source.name, "version": source.version})

    def input_source(self) -> dict[str, Any]:
        """Return where an input made of this dataset comes from, as plain data (no I/O).

        ``workspace`` (see :func:`stepwell.workspace.workspace.plain`) is there if somebody said which it is.
        """
        where = {} if self._workspace is None else {"workspace": plain(self._workspace)}
        if self._name is not None:
            return {"name": self._name, "version": self._wanted or "latest", **where}
        if self._source is not None:
            base = {"name": self._source.name, "version": self._source.version}
            return {"definition": self._plain(), "base": base, **where}
        return {"definition": self._plain(), **where}

    def _in(self, workspace: Workspace | str | None) -> Workspace:
        """Return the workspace to use it in: *workspace*, or its own for ``None``."""
        if workspace is None:
            return self.workspace
        ws = resolve_workspace(workspace)
        if self._workspace is not None and not same_workspace(self._workspace, ws):
            raise UserErrorException(
                f"{self!r} is of the workspace {plain(self._workspace)!r} and cannot be used in {plain(ws)!r}",
                hint="Use one workspace for both, or copy the data into a datastore of the other one",
            )
        return ws

    # -- taking it -------------------------------------------------------------------------------------------------

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """Return it as an input of a step, called *name* there."""
        return DatasetConsumptionConfig(name, self)

    def register(
        self,
        workspace: Workspace | str | None,
        name: str,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        create_new_version: bool = False,
    ) -> Any:
        """Register it, with its files as they are now.

        :param workspace: ``None``: the dataset's own, else the default one.
        :param create_new_version: make the next version if the name exists; the same definition with the same data is
            the version that exists already, as in v1.
        :returns: the registered dataset.
        :raises UserErrorException: a bad name, or one that exists (with *create_new_version* false).
        :raises DatasetError: a path does not exist, or a pattern matches nothing.
        """
        from stepwell.data.dataset import from_version

        ws = self._in(workspace)
        check_name("dataset", name)
        pinned = self.pinned(ws)
        if create_new_version and name in registry.names(ws):
            latest = registry.get(ws, name)
            if (latest.definition_id, latest.digest) == (pinned.definition_id, pinned.digest):
                return from_version(ws, latest)
        version = registry.register(
            ws,
            name,
            pinned.definition,
            pinned.files,
            description=description,
            tags=tags,
            create_new_version=create_new_version,
        )
        return from_version(ws, version)

    def _with(self: Self, operation: definitions.Operation) -> Self:
        definition = definitions.with_operation(self._plain(), operation)
        return type(self)(
            definition, workspace=self._workspace, source=self._registered() if self._name else self._source
        )

    def take(self: Self, count: int) -> Self:
        """Return the first *count* rows (file dataset: files)."""
        return self._with(definitions.take(count))

    def skip(self: Self, count: int) -> Self:
        """Return all but the first *count* rows (file dataset: files)."""
        return self._with(definitions.skip(count))

    def take_sample(self: Self, probability: float, seed: int | None = None) -> Self:
        """Return each row (file dataset: file) with *probability*; without a *seed* one is made of the definition."""
        return self._with(definitions.sample(probability, self._seed(seed)))

    def random_split(self: Self, percentage: float, seed: int | None = None) -> tuple[Self, Self]:
        """Return two datasets that share the rows (file dataset: files): about *percentage* of them, and the others."""
        chosen = self._seed(seed)
        left, right = (self._with(definitions.split(percentage, chosen, part)) for part in ("left", "right"))
        return left, right

    def _seed(self, seed: int | None) -> int:
        return seed if seed is not None else int(definitions.content_id(self.definition)[:7], 16)

    def __repr__(self) -> str:
        if self._name:
            return f"{type(self).__name__}({self._name!r}, version={self._wanted or 'latest'!r})"
        return f"{type(self).__name__}({self._plain()['paths']!r})"

    def serialize(self) -> dict[str, Any]:
        """Return plain data that is the same at each parse of a DAG file."""
        return {"kind": self.kind, **self.input_source()}


def _not_registered() -> DatasetError:
    return DatasetError("This dataset is not registered", hint="Call register(workspace, name) first")
