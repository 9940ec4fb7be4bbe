"""The example pipelines under another name and on other compute targets: ``compute_target`` changes, no more."""

from __future__ import annotations

from pathlib import Path

#: Example → task → the word that stands there.
TARGETS = {
    "titanic_pipeline": {"prepare": "link1-spark01", "train": "cpucluster"},
    "python_step_local": {"count": "local"},
}
#: What an example registers; under another name, so that two of them do not start each other's consumers.
_REGISTERED = ("registered_dataset", "titanic_model", "survival_by_class")


def on_targets(project: Path, example: str, dag_id: str, **targets: str) -> str:
    """Return the text of a DAG file: the example as *dag_id*, with these tasks on other targets.

    :param targets: task → name of a compute target.
    """
    text = (project / "dags" / f"{example}.py").read_text()
    changes = {f"def {example}(": f"def {dag_id}(", f"\n{example}()": f"\n{dag_id}()"}
    for task, target in targets.items():
        changes[f'compute_target="{TARGETS[example][task]}"'] = f'compute_target="{target}"'
    changes |= {f'name="{name}"': f'name="{dag_id}_{name}"' for name in _REGISTERED if f'name="{name}"' in text}
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
