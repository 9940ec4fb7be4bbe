"""Learners that FLAML does not have, or has without scaling and encoding: scikit-learn's, with spaces to search in.

Each is a line of :data:`TABLE`. FLAML calls them as its own, through the class that :func:`learner_class` makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Mapping

import numpy as np
from flaml import tune
from flaml.automl.model import SKLearnEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import ElasticNet, LassoLars, LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import BernoulliNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from stepwell.payload.automl.engines import BASELINES
from stepwell.payload.automl.steps import CategoryCodes, Numbers, OneColumn, ScaledNumbers

Space = Callable[[int, int], Mapping[str, Mapping[str, Any]]]
_SEED = 20240501


@dataclass(frozen=True)
class Learner:
    """A learner.

    :param make: parameters and whether it classifies → a fresh estimator of scikit-learn.
    :param space: rows and columns → what is searched, in FLAML's form.
    :param preparation: what stands before it: ``scale``, ``unit`` (0 to 1), ``codes``, ``none``.
    :param cost: how much slower than LightGBM its first trial is thought to be.
    """

    make: Callable[[Mapping[str, Any], bool], Any]
    space: Space
    preparation: str = "scale"
    cost: float = 5.0


def preparation(kind: str) -> list[Any]:
    """Return the steps before a learner."""
    if kind == "none":
        return []
    if kind == "codes":
        return [CategoryCodes()]
    categories = make_column_selector(dtype_include="category")
    encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32)
    return [
        ColumnTransformer(
            [("numbers", ScaledNumbers(unit=kind == "unit"), Numbers()), ("categories", encoder, categories)]
        )
    ]


def words(learner: str, model: str) -> str:
    """Return the pipeline of a learner in words: "StandardScaler, LogisticRegression"."""
    before = {"scale": "StandardScaler, ", "unit": "MinMaxScaler, "}
    return (before.get(TABLE[learner].preparation, "") if learner in TABLE else "") + model


def learner_class(name: str, facts: Mapping[str, Any]) -> type[SKLearnEstimator]:
    """Return the class of a learner of :data:`TABLE`, in FLAML's form.

    :param facts: of the problem: a baseline finds its column there.
    """
    learner = TABLE[name]

    class Ours(SKLearnEstimator):  # type: ignore[misc]
        @classmethod
        def search_space(cls, data_size: Any, task: Any = None, **_: Any) -> Any:
            return dict(learner.space(int(data_size[0]), int(data_size[1])))

        @classmethod
        def cost_relative2lgbm(cls) -> float:
            return learner.cost

        def config2params(self, config: Mapping[str, Any]) -> dict[str, Any]:
            return dict(config)

        def __init__(self, task: Any = "binary", **config: Any) -> None:
            super().__init__(task, **config)
            classify = bool(self._task.is_classification())

            def make(n_jobs: Any = None, **parameters: Any) -> Any:
                extra = {"column": facts["baselines"][name]} if name in BASELINES else {}
                estimator = learner.make({**parameters, **extra}, classify)
                return make_pipeline(*preparation(learner.preparation), estimator)

            self.estimator_class = make

        def _preprocess(self, X: Any) -> Any:
            return X  # the pipeline does it, and takes it along

        def _fit(self, X_train: Any, y_train: Any, **kwargs: Any) -> float:
            weight = kwargs.pop("sample_weight", None)
            if weight is not None:
                model = self.estimator_class(**self.params)
                name, last = model.steps[-1]
                if _takes_weight(last):
                    kwargs[f"{name}__sample_weight"] = weight
            return float(super()._fit(X_train, y_train, **kwargs))

    Ours.__name__ = Ours.__qualname__ = name
    return Ours


def _takes_weight(estimator: Any) -> bool:
    from sklearn.utils.validation import has_fit_parameter

    return bool(has_fit_parameter(getattr(estimator, "regressor", estimator), "sample_weight"))


def _either(classifier: Any, regressor: Any, **fixed: Any) -> Callable[[Mapping[str, Any], bool], Any]:
    return lambda parameters, classify: (classifier if classify else regressor)(**fixed, **parameters)


def _one(estimator: Any, **fixed: Any) -> Callable[[Mapping[str, Any], bool], Any]:
    return lambda parameters, classify: estimator(**fixed, **parameters)


def _calibrated(machine: Any) -> Callable[[Mapping[str, Any], bool], Any]:
    """Return how to make a support vector machine that says probabilities."""

    def make(parameters: Mapping[str, Any], classify: bool) -> Any:
        return CalibratedClassifierCV(machine(random_state=_SEED, **parameters), cv=3, ensemble=False)

    return make


def _sgd(parameters: Mapping[str, Any], classify: bool) -> Any:
    given = {k: v for k, v in parameters.items() if k != "huber"}
    if classify:
        loss = "modified_huber" if parameters.get("huber") else "log_loss"
        return SGDClassifier(random_state=_SEED, loss=loss, **given)
    # Its steps have the size that suits a target of about 1.
    regressor = SGDRegressor(random_state=_SEED, loss="huber" if parameters.get("huber") else "squared_error", **given)
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


def _fixed(**values: Any) -> Space:
    return lambda rows, columns: {k: {"domain": v, "init_value": i} for k, (v, i) in values.items()}


def _neighbours(rows: int, columns: int) -> Mapping[str, Mapping[str, Any]]:
    upper = max(3, min(256, rows // 3))
    return {
        "n_neighbors": {"domain": tune.lograndint(1, upper), "init_value": min(5, upper - 1)},
        "weights": {"domain": tune.choice(["uniform", "distance"]), "init_value": "distance"},
    }


def _trees(rows: int, columns: int) -> Mapping[str, Mapping[str, Any]]:
    return {
        "max_leaf_nodes": {"domain": tune.lograndint(4, max(8, min(4096, rows))), "init_value": 16},
        "min_samples_leaf": {"domain": tune.lograndint(1, max(3, min(128, rows // 10))), "init_value": 2},
    }


def _boosting(rows: int, columns: int) -> Mapping[str, Mapping[str, Any]]:
    return {
        "max_iter": {"domain": tune.lograndint(4, 1024), "init_value": 16, "low_cost_init_value": 4},
        "max_leaf_nodes": {"domain": tune.lograndint(4, max(8, min(1024, rows))), "init_value": 8},
        "learning_rate": {"domain": tune.loguniform(1 / 512, 1.0), "init_value": 0.1},
        "min_samples_leaf": {"domain": tune.lograndint(2, 128), "init_value": 20},
        "l2_regularization": {"domain": tune.loguniform(1e-6, 100.0), "init_value": 1e-3},
    }


_C = {"C": (tune.loguniform(1e-3, 1e3), 1.0)}
_ALPHA = {"alpha": (tune.loguniform(1e-7, 1.0), 1e-4)}

TABLE: dict[str, Learner] = {
    "lrl1": Learner(_one(LogisticRegression, max_iter=400), _fixed(**_C), cost=8),
    "sgd": Learner(
        _sgd,
        _fixed(
            **_ALPHA,
            penalty=(tune.choice(["l2", "elasticnet"]), "l2"),
            average=(tune.choice([False, True]), True),
            huber=(tune.choice([False, True]), False),
        ),
        cost=4,
    ),
    "svc": Learner(_calibrated(LinearSVC), _fixed(**_C), cost=20),
    "svm": Learner(_calibrated(SVC), _fixed(**_C, gamma=(tune.loguniform(1e-4, 10.0), 0.1)), cost=100),
    "perceptron": Learner(
        _one(SGDClassifier, loss="modified_huber", average=True, learning_rate="constant", random_state=_SEED),
        _fixed(**_ALPHA, eta0=(tune.loguniform(1e-4, 10.0), 0.1)),
        cost=4,
    ),
    "kneighbor": Learner(_either(KNeighborsClassifier, KNeighborsRegressor), _neighbours, cost=30),
    "enet": Learner(
        _one(ElasticNet, random_state=_SEED),
        _fixed(alpha=(tune.loguniform(1e-5, 10.0), 0.01), l1_ratio=(tune.uniform(0.0, 1.0), 0.5)),
        cost=2,
    ),
    "lassolars": Learner(
        _one(LassoLars, random_state=_SEED), _fixed(alpha=(tune.loguniform(1e-6, 10.0), 0.01)), cost=2
    ),
    "decision_tree": Learner(
        _either(DecisionTreeClassifier, DecisionTreeRegressor, random_state=_SEED), _trees, "codes", cost=1
    ),
    "gradient_boosting": Learner(
        # Stopped early, it would be another model on more rows than on fewer.
        _either(
            HistGradientBoostingClassifier, HistGradientBoostingRegressor, random_state=_SEED, early_stopping=False
        ),
        _boosting,
        "codes",
        cost=2,
    ),
    "multinomial_nb": Learner(_one(MultinomialNB), _fixed(alpha=(tune.loguniform(1e-3, 10.0), 1.0)), "unit", cost=1),
    "bernoulli_nb": Learner(
        _one(BernoulliNB, binarize=0.5), _fixed(alpha=(tune.loguniform(1e-3, 10.0), 1.0)), "unit", cost=1
    ),
}
TABLE.update({name: Learner(_one(OneColumn), _fixed(), "none", cost=0.1) for name in BASELINES})
