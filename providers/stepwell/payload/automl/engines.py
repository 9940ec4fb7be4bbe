"""The engines there are. A second one is a module and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from stepwell.payload.automl.engine import Engine
from stepwell.payload.automl.errors import AutoMLError
from stepwell.runtime.automl import DEFAULT_MODELS, MODELS

_ENGINES = {"flaml": ("stepwell.payload.automl.flaml_engine", "FlamlEngine")}


def engine_of(name: str) -> Engine:
    """Return the engine of that name; ``module:Class`` is one of another package.

    :raises AutoMLError: there is none.
    """
    module, cls = _ENGINES.get(name) or name.partition(":")[::2]
    if not cls:
        raise AutoMLError(f"There is no engine {name!r}", allowed=[*_ENGINES, "module:Class"])
    found: Engine = getattr(import_module(module), cls)()
    return found


#: Forecasts that learn nothing. One trial says all about each.
BASELINES = ("naive", "seasonal_naive", "average", "seasonal_average")
#: The promising ones first, which is FLAML's own order.
_ORDER = ("lgbm", "rf", "xgboost", "extra_tree", "xgb_limitdepth", "sgd", "lrl1")


def learners(task: str, models: Sequence[str]) -> list[str]:
    """Return the learners of v1's *models*, the promising ones first."""
    found = list(dict.fromkeys(name for model in models for name in MODELS[task][model]))
    return sorted(found, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def model_of(learner: str, task: str) -> str:
    """Return v1's name of the model that a learner is."""
    return next(model for model, names in MODELS[task].items() if learner in names)


def islands(names: Sequence[str], count: int) -> list[list[str]]:
    """Return the learners of each of *count* workers: dealt out one by one; of more workers than learners, again.

    Baselines go to the first one, beside the others: they take no time.
    """
    once = [name for name in names if name in BASELINES]
    several = [name for name in names if name not in BASELINES]
    if not several:
        return [once, *[[] for _ in range(count - 1)]]
    dealt = [several[first::count] or [several[first % len(several)]] for first in range(count)]
    return [[*once, *dealt[0]], *dealt[1:]]


def models(settings: Mapping[str, Any]) -> list[str]:
    """Return v1's names of the models of a search: the allowed ones, else the usual ones, without the blocked ones."""
    task = settings["task"]
    allowed = settings.get("allowed_models") or DEFAULT_MODELS[task]
    blocked = settings.get("blocked_models") or ()
    return [name for name in allowed if name not in blocked]
