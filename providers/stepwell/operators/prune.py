"""``PruneOperator``: remove what nothing refers to any more, as a task of a maintenance DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from stepwell.errors import UserErrorException

if TYPE_CHECKING:
    from airflow.sdk import Context

_NO = {"false", "0", "no", ""}


class PruneOperator(BaseOperator):
    """Remove old runs, their unregistered outputs, snapshots, leftovers, environments and job directories.

    A registered version, and the files that it pins, are never removed, unless *datasets* and *keep_versions* say so.
    All parameters are those of ``airflow stepwell prune``, and all but *workspace* are templated.

    :param older_than: runs that ended later are kept: ``30d``, ``36h``, ``2w``; at least a day.
    :param keep: how many of the newest completed runs of each step are kept, whatever their age.
    :param datasets: names of datasets whose older versions may go.
    :param keep_versions: how many versions of these stay; given together with *datasets*.
    :param environments_unused_for: environments that were used later are kept.
    :param what: what to prune; default: all.
    :param dry_run: only say what would go.
    :param workspace: the ``Workspace`` or its name; default: the default workspace.
    :returns: for each kind how many things were removed, and how many bytes; what was left, with the reasons.
    """

    template_fields = (
        *("older_than", "keep", "datasets", "keep_versions", "environments_unused_for", "what", "only_say"),
    )
    ui_color = "#e6e1d3"

    def __init__(
        self,
        *,
        older_than: str = "30d",
        keep: int | str = 10,
        datasets: str | list[str] | None = None,
        keep_versions: int | str | None = None,
        environments_unused_for: str = "90d",
        what: str | list[str] | None = None,
        dry_run: bool | str = False,
        workspace: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        from stepwell.workspace.workspace import plain

        self.older_than = older_than
        self.keep = keep
        self.datasets = datasets
        self.keep_versions = keep_versions
        self.environments_unused_for = environments_unused_for
        self.what = what
        self.only_say = dry_run  # BaseOperator has a method of that name
        self.workspace = plain(workspace)

    def execute(self, context: Context) -> dict[str, Any]:
        """Plan, and unless it is a dry run, remove."""
        from stepwell.retention import plan, sweep
        from stepwell.retention.rules import rules
        from stepwell.workspace.workspace import resolve_workspace

        ws = resolve_workspace(self.workspace)
        try:
            wanted = rules(
                older_than=self.older_than,
                keep=self.keep,
                datasets=self.datasets,
                keep_versions=self.keep_versions,
                environments_unused_for=self.environments_unused_for,
                what=self.what,
            )
        except UserErrorException as error:
            raise AirflowFailException(str(error)) from error
        found, _ = plan.make(ws, wanted)
        for note in found.notes:
            self.log.warning("Note: %s", note)
        only_say = str(self.only_say).strip().lower() not in _NO
        for kind, one in found.totals().items():
            self.log.info("%s: %d, %s bytes", kind, one["count"], f"{one['bytes']:,}")
        if only_say:
            self.log.info("A dry run: nothing was removed")
            return {"dry_run": True, "totals": found.totals(), "left": []}
        done = sweep.sweep(ws, found, self.log.info)
        left = [f"{item.path}: {reason}" for item, reason in done.left]
        for line in left:
            self.log.warning("Left: %s", line)
        totals = done.totals()
        self.log.info("Removed %d things, %s bytes", len(done.removed), f"{sum(t['bytes'] for t in totals.values()):,}")
        if done.failed:
            raise AirflowException(f"{len(done.failed)} things could not be removed; the log says why")
        return {"dry_run": False, "totals": totals, "left": left[:100]}
