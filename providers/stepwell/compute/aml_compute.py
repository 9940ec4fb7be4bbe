"""v1's ``AmlCompute``: a managed compute target with a size and a number of nodes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from stepwell.compute import portal, records
from stepwell.compute.base import ComputeTarget, Configuration
from stepwell.compute.settings import Form, Setting
from stepwell.errors import ComputeTargetException

if TYPE_CHECKING:
    from stepwell.compute.kinds.amlcompute import AmlComputeTarget

#: Parameters of v1 that mean nothing where there is no Azure network, login or identity, and their defaults.
_NOT_BUILT: dict[str, Any] = {
    "admin_username": None,
    "admin_user_password": None,
    "admin_user_ssh_key": None,
    "vnet_resourcegroup_name": None,
    "vnet_name": None,
    "subnet_name": None,
    "remote_login_port_public_access": "NotSpecified",
    "identity_type": None,
    "identity_id": None,
    "enable_node_public_ip": True,
}


class AmlComputeStatus:
    """How an :class:`AmlCompute` is at a moment; the names are v1's."""

    def __init__(self, record: records.Record, busy: int) -> None:
        settings = record["configuration"]
        self.provisioning_state: str = record["provisioning_state"]
        self.allocation_state = "Steady"
        self.vm_size: str = settings["vm_size"]
        self.vm_priority: str = settings["vm_priority"]
        self.current_node_count = self.target_node_count = max(busy, int(settings["min_nodes"]))
        self.node_state_counts = {
            "idle": self.current_node_count - busy, "running": busy,
            "preparing": 0, "leaving": 0, "preempted": 0, "unusable": 0,
        }  # fmt: skip
        self.scale_settings = {
            "min_nodes": settings["min_nodes"],
            "max_nodes": settings["max_nodes"],
            "idle_seconds_before_scaledown": settings["idle_seconds_before_scaledown"],
        }
        self.errors: list[str] = []

    def serialize(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return dict(vars(self))


class AmlCompute(ComputeTarget):
    """Nodes for training. A node is a slot on another compute target, its *backing*: ``max_nodes`` jobs run, more wait.

    ``vm_size`` is kept in the record and not looked at.
    """

    _compute_type = "AmlCompute"
    _managed = True
    kind = "amlcompute"
    form = Form(
        "AmlCompute",
        "at most max_nodes jobs at a time, on another compute target",
        (
            Setting("backing_target", "the compute target whose machine runs the jobs: local, docker, remote, …",
                    default="local", flags=("--backing-target", "--backing")),
            Setting("max_nodes", "how many jobs run at a time", "integer", required=True),
            Setting("min_nodes", "how many nodes are said to be there when none is used", "integer", default=0),
            Setting("idle_seconds_before_scaledown", "kept, as in v1", "integer", default=1800),
            Setting("vm_size", "kept, and not looked at", default=""),
            Setting("vm_priority", "kept, and not looked at", default="dedicated",
                    choices=("dedicated", "lowpriority")),
            Setting("location", "kept, and not looked at"),
        ),
        managed=True,
    )  # fmt: skip

    @classmethod
    def configuration(
        cls, values: Mapping[str, Any], tags: Mapping[str, str] | None = None, description: str | None = None
    ) -> Configuration:
        """Return what :meth:`create` needs, from plain values.

        :raises UserErrorException: a value is unknown, not right, or missing.
        :raises ComputeTargetException: the numbers do not go together.
        """
        made = super().configuration(values, tags, description)
        _scale(*(made.settings[key] for key in _NUMBERS))
        return made

    @staticmethod
    def provisioning_configuration(
        vm_size: str = "",
        vm_priority: str = "dedicated",
        min_nodes: int = 0,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int = 1800,
        tags: dict[str, str] | None = None,
        description: str | None = None,
        location: str | None = None,
        *,
        backing: str = "local",
        **more: Any,
    ) -> Configuration:
        """Return what :meth:`ComputeTarget.create` needs.

        :param max_nodes: how many jobs run at a time; required.
        :param backing: the compute target on whose machine they run, as it runs its own: ``local``, or an attached
            one of the kinds ``docker``, ``remote`` or ``remotedocker``. (Azure has machines of its own.)
        :raises ComputeTargetException: a value is not allowed, or names what is not built.
        """
        for key, value in more.items():
            if key not in _NOT_BUILT:
                raise TypeError(f"provisioning_configuration() got an unexpected keyword argument {key!r}")
            if value != _NOT_BUILT[key]:
                raise ComputeTargetException(f"The parameter {key} of AmlCompute is not built", hint="Leave it out")
        if vm_priority not in ("dedicated", "lowpriority"):
            raise ComputeTargetException(
                f"vm_priority={vm_priority!r} is unknown", allowed=["dedicated", "lowpriority"]
            )
        if max_nodes is None:
            raise ComputeTargetException("max nodes count is mandatory", hint="Give max_nodes=1 or more")
        if not isinstance(backing, str) or not backing:
            raise ComputeTargetException(f"backing={backing!r} is not right", allowed=["the name of a compute target"])
        settings = {
            "vm_size": vm_size,
            "vm_priority": vm_priority,
            **_scale(min_nodes, max_nodes, idle_seconds_before_scaledown),
            "location": location,
            "backing_target": backing,
        }
        return Configuration(AmlCompute, "amlcompute", settings, None, tags, description)

    def wait_for_completion(  # type: ignore[override]  # v1's own order of parameters
        self,
        show_output: bool = False,
        min_node_count: int | None = None,
        timeout_in_minutes: float = 25,
        is_delete_operation: bool = False,
    ) -> None:
        """Wait until it is there, with at least *min_node_count* nodes.

        Too long a wait is said, not raised, as in v1.
        """
        deadline = time.monotonic() + timeout_in_minutes * 60
        while (min_node_count or 0) > max(int(self._record["configuration"]["min_nodes"]), self._slots().busy_nodes()):
            if time.monotonic() >= deadline:
                print(f"Wait timeout has been reached; current provisioning state: {self.provisioning_state}")
                return
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
            self.refresh_state()
        self._pending = False
        if show_output:
            print(f"{self.provisioning_state}\nAmlCompute wait for completion finished\n")
            print("Minimum number of nodes requested have been provisioned")

    def get_status(self) -> AmlComputeStatus:
        """Return how it is now."""
        self.refresh_state()
        return AmlComputeStatus(self._record, self._slots().busy_nodes())

    @property
    def vm_size(self) -> str:
        """The size of a node, as it was given."""
        return str(self._record["configuration"]["vm_size"])

    @property
    def scale_settings(self) -> dict[str, int]:
        """The numbers of nodes."""
        settings = self._record["configuration"]
        return {key: settings[key] for key in _NUMBERS}

    def update(
        self,
        min_nodes: int | None = None,
        max_nodes: int | None = None,
        idle_seconds_before_scaledown: int | None = None,
    ) -> None:
        """Change the numbers of nodes. Jobs that wait start if there are more now; those that run go on.

        :raises ComputeTargetException: a number is not allowed.
        """
        self.refresh_state()
        now = self.scale_settings
        changed = _scale(
            now["min_nodes"] if min_nodes is None else min_nodes,
            now["max_nodes"] if max_nodes is None else max_nodes,
            now["idle_seconds_before_scaledown"]
            if idle_seconds_before_scaledown is None
            else idle_seconds_before_scaledown,
        )
        settings = {**self._record["configuration"], **changed}
        self._record = records.write(self._ws, {**self._record, "configuration": settings})
        portal.call(self._slots().resize())

    def _slots(self) -> AmlComputeTarget:
        return cast("AmlComputeTarget", self.target())


_NUMBERS = ("min_nodes", "max_nodes", "idle_seconds_before_scaledown")


def _scale(min_nodes: object, max_nodes: object, idle_seconds: object) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in zip(_NUMBERS, (min_nodes, max_nodes, idle_seconds), strict=True):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ComputeTargetException(f"{key}={value!r} is not right", allowed=["a whole number of at least 0"])
        found[key] = value
    if found["max_nodes"] < found["min_nodes"]:
        raise ComputeTargetException(
            f"max_nodes={max_nodes} is less than min_nodes={min_nodes}", hint="Give max_nodes at least min_nodes"
        )
    return found
