"""v1's ``ComputeTarget``: attach, create, find, list, detach and delete compute targets of a workspace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from stepwell.compute import attaching, records, resolve
from stepwell.compute.contract import Report, Target
from stepwell.compute.logins import Login
from stepwell.compute.settings import Form
from stepwell.errors import ComputeTargetException, UserErrorException

if TYPE_CHECKING:
    from stepwell.workspace import Workspace


class Configuration:
    """What ``create`` or ``attach`` needs to know; made by a class's ``…_configuration``.

    :param target_class: the class that made it.
    :param kind: the kind in the registry.
    :param settings: plain JSON, kept in the record.
    :param connection_id: an Airflow connection that exists.
    :param login: what a connection is made of when the target is attached.
    """

    def __init__(
        self,
        target_class: type[ComputeTarget],
        kind: str,
        settings: Mapping[str, Any],
        connection_id: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
        login: Login | None = None,
    ) -> None:
        self.target_class = target_class
        self.kind = kind
        self.settings = dict(settings)
        self.connection_id = connection_id
        self.tags = dict(tags or {})
        self.description = description
        self.login = login

    def plan(self, ws: Workspace) -> attaching.Plan:
        """Return it as plain data, with what only the workspace knows."""
        cls = self.target_class
        kind, settings, connection_id = cls._settle(ws, self)
        return attaching.Plan(
            kind, cls._compute_type, cls._managed, settings, connection_id, self.login,
            cls.form.over_ssh, self.tags, self.description,
        )  # fmt: skip


class ComputeTarget:
    """A compute target of a workspace.

    ``ComputeTarget(workspace, name)`` returns one of the right class.

    :param workspace: a workspace or its name; default: the default workspace.
    :raises ComputeTargetException: "ComputeTargetNotFound: …", with the nearest names.
    """

    #: v1's name of the type; the record's ``type``.
    _compute_type: ClassVar[str] = ""
    #: Managed ones are created and deleted, attached ones attached and detached.
    _managed: ClassVar[bool] = False
    _classes: ClassVar[dict[str, type[ComputeTarget]]] = {}
    #: The kind in the registry, and what it wants to be told.
    kind: ClassVar[str] = ""
    form: ClassVar[Form] = Form("")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ComputeTarget._classes[cls._compute_type] = cls

    def __new__(cls, workspace: Workspace | str | None = None, name: str | None = None) -> ComputeTarget:
        """Return the compute target *name*, as an instance of its own class."""
        if not isinstance(name, str):
            raise UserErrorException(f"{name!r} is not the name of a compute target", allowed=["a string"])
        ws = _workspace(workspace)
        return cls._from_record(ws, records.read(ws, name))

    def __init__(self, workspace: Workspace | str | None = None, name: str | None = None) -> None:
        """Do nothing: :meth:`__new__` has done all."""

    @classmethod
    def _from_record(cls, ws: Workspace, record: records.Record, pending: bool = False) -> ComputeTarget:
        found = ComputeTarget._classes.get(record["type"]) or _class_of(record)
        if not issubclass(found, cls):
            raise ComputeTargetException(
                f"The compute target {record['name']!r} is of type {record['type']}, not {cls._compute_type}",
                hint=f"Use ComputeTarget(workspace, {record['name']!r})",
            )
        made: ComputeTarget = object.__new__(found)
        made._ws, made._record, made._pending = ws, record, pending
        return made

    @classmethod
    def _check_name(cls, name: str) -> None:
        """Refuse a name that this class does not take, beyond the general rule."""

    @classmethod
    def _settle(cls, ws: Workspace, wanted: Configuration) -> tuple[str, dict[str, Any], str | None]:
        """Return kind, settings and connection, with what only the workspace knows."""
        return wanted.kind, wanted.settings, wanted.connection_id

    @classmethod
    def configuration(
        cls,
        values: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
        description: str | None = None,
    ) -> Configuration:
        """Return what :meth:`attach` needs, or :meth:`create`, from plain values, checked against :attr:`form`.

        :raises UserErrorException: a value is unknown, not right, or missing.
        :raises ComputeTargetException: they do not go together.
        """
        checked = cls.form.check(values, f"a target of the kind {cls.kind!r}")
        connection_id, login = cls.form.login.read(checked) if cls.form.login else (None, None)
        return Configuration(cls, cls.kind, cls.form.own(checked), connection_id, tags, description, login)

    _ws: Workspace
    _record: records.Record
    _pending: bool

    # -- v1's class methods ------------------------------------------------------------------------------------------

    @staticmethod
    def create(
        workspace: Workspace | str | None, name: str, provisioning_configuration: Configuration
    ) -> ComputeTarget:
        """Create a managed compute target, or change the one of that name.

        :raises ComputeTargetException: the target cannot work; the reasons are in the message and nothing is written.
        """
        return _add(workspace, name, provisioning_configuration, managed=True)

    @staticmethod
    def attach(workspace: Workspace | str | None, name: str, attach_configuration: Configuration) -> ComputeTarget:
        """Attach something that exists as a compute target, or attach that of the same name anew.

        :raises ComputeTargetException: the target cannot work; the reasons are in the message and nothing is written.
        """
        return _add(workspace, name, attach_configuration, managed=False)

    @staticmethod
    def list(workspace: Workspace | str | None = None) -> list[ComputeTarget]:
        """Return all compute targets of the workspace, ``local`` included."""
        ws = _workspace(workspace)
        return [ComputeTarget._from_record(ws, records.read(ws, name)) for name in records.names(ws)]

    # -- v1's attributes ---------------------------------------------------------------------------------------------

    @property
    def workspace(self) -> Workspace:
        """The workspace that it belongs to."""
        return self._ws

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._record["name"])

    @property
    def type(self) -> str:
        """Its type, by v1's name."""
        return str(self._record["type"])

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self._record.get("tags") or {})

    @property
    def description(self) -> str | None:
        """What it is said to be for."""
        return self._record.get("description")

    @property
    def provisioning_state(self) -> str:
        """Say "Succeeded" or "Failed", as it was when it was last looked at, or "Unprobed" if nobody has looked yet."""
        return str(self._record["provisioning_state"])

    @property
    def provisioning_errors(self) -> Sequence[str]:
        """What the last look found wrong."""
        return [*((self._record.get("report") or {}).get("problems") or [])]

    @property
    def is_attached(self) -> bool:
        """Whether it was attached (and not created)."""
        return bool(self._record["is_attached"])

    @property
    def report(self) -> dict[str, Any] | None:
        """The dated report of the last look; None if nobody has looked yet."""
        return self._record.get("report")

    # -- v1's methods ------------------------------------------------------------------------------------------------

    def wait_for_completion(self, show_output: bool = False, is_delete_operation: bool = False) -> None:
        """Wait until it is there. It is: ``create`` and ``attach`` have looked at it before they returned.

        :raises ComputeTargetException: there is no operation to wait for.
        """
        if not self._pending:
            raise ComputeTargetException(
                "Long running operation information not known, unable to poll. "
                f"Current state is {self.provisioning_state}"
            )
        self._pending = False
        if show_output:
            print(f'{self.provisioning_state}\nProvisioning operation finished, operation "{self.provisioning_state}"')

    def get_status(self) -> Any:
        """Return the provisioning state as it is now."""
        self.refresh_state()
        return self.provisioning_state

    def refresh_state(self) -> None:
        """Read the record again."""
        self._record = records.read(self._ws, self.name)

    def serialize(self) -> dict[str, Any]:
        """Return what is known as plain JSON."""
        r = self._record
        return {
            "name": self.name,
            "computeType": self.type,
            "kind": r["kind"],
            "description": self.description,
            "tags": self.tags,
            "provisioningState": self.provisioning_state,
            "provisioningErrors": self.provisioning_errors,
            "isAttachedCompute": self.is_attached,
            "createdOn": r.get("created"),
            "modifiedOn": r.get("modified"),
            "connectionId": r.get("connection_id"),
            "properties": r["configuration"],
            "report": r.get("report"),
        }

    def detach(self, force: bool = False) -> None:
        """Remove an attached compute target from the workspace; what it stands for is not touched.

        A connection that was made when it was attached goes, too.

        :param force: also while jobs run there.
        :raises ComputeTargetException: it is a managed one; jobs run there.
        """
        if self._managed or self.name == "local":
            raise _not_supported("Detach", self, "delete" if self._managed else None)
        attaching.remove(self._ws, self._record, force=force)

    def delete(self, force: bool = False) -> None:
        """Delete a managed compute target.

        :param force: also while jobs run there.
        :raises ComputeTargetException: it is an attached one; jobs run there.
        """
        if not self._managed:
            raise _not_supported("Delete", self, None if self.name == "local" else "detach")
        attaching.remove(self._ws, self._record, force=force)

    def probe(self) -> Report:
        """Look whether it can work, and keep the dated report. That it cannot be reached is in the report, too."""
        report, self._record = attaching.probe(self._ws, self._record)
        return report

    def target(self) -> Target:
        """Return what runs jobs there."""
        return resolve.target_of(self._ws, self._record)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r}, type={self.type!r})"


class LocalTarget(ComputeTarget):
    """``local``: this machine, in every workspace."""

    _compute_type = "local"
    kind = "local"
    form = Form("local", "this machine; always there")


def _workspace(workspace: Workspace | str | None) -> Workspace:
    from stepwell.workspace.workspace import resolve_workspace

    return resolve_workspace(workspace)


def _not_supported(what: str, target: ComputeTarget, instead: str | None) -> ComputeTargetException:
    return ComputeTargetException(
        f"{what} is not supported for {type(target).__name__} object",
        hint=f"Try to use {instead} instead" if instead else "'local' is always there",
    )


def _add(workspace: Workspace | str | None, name: str, configuration: object, *, managed: bool) -> ComputeTarget:
    if not isinstance(configuration, Configuration):
        allowed = "AmlCompute.provisioning_configuration(…)" if managed else "RemoteCompute.attach_configuration(…)"
        raise ComputeTargetException(f"{configuration!r} is not a configuration of a compute target", allowed=[allowed])
    if configuration.target_class._managed is not managed:
        made_by = configuration.target_class.__name__
        raise ComputeTargetException(
            f"{made_by} is {'attached, not created' if managed else 'created, not attached'}",
            hint=f"Use ComputeTarget.{'attach' if managed else 'create'}",
        )
    ws = _workspace(workspace)
    attaching.check_new_name(name)
    configuration.target_class._check_name(name)
    return ComputeTarget._from_record(ws, attaching.add(ws, name, configuration.plan(ws)), pending=True)


def _class_of(record: records.Record) -> type[ComputeTarget]:
    """Return the class of a kind of another package; if that is gone, what all kinds have: it can be detached."""
    from stepwell.compute.classes import class_of

    try:
        return class_of(record["kind"])
    except Exception:
        return ComputeTarget
