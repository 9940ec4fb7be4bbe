"""``AutoMLStepOperator``: models searched in parallel on a compute target."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stepwell.data.consumption import DatasetConsumptionConfig
from stepwell.data.output import OutputDatasetConfig, OutputFileDatasetConfig
from stepwell.errors import UserErrorException
from stepwell.links import AutoMLReportLink
from stepwell.operators import ports
from stepwell.operators.base import StepOperator

if TYPE_CHECKING:
    from stepwell.step.spec import StepSpec

#: What runs on the target, and the file that a try which goes on finds again.
MODULE = "stepwell.payload.automl.main"
TRIALS = "outputs/automl/trials.jsonl"
INPUTS = ("training_data", "validation_data", "test_data")
MODEL, LEADERBOARD, METRICS = "model", "leaderboard", "metrics"
#: Libraries whose tables are data of a process, not of a workspace.
_IN_MEMORY = frozenset({"pandas", "numpy", "scipy", "pyspark", "polars", "builtins"})


class AutoMLStepOperator(StepOperator):
    """Search for the best model on a compute target (v1's ``AutoMLStep``); see ``AutoMLConfig`` for what is searched.

    It has three outputs, also as attributes for the steps behind it: ``model`` (a folder: the best model, in MLflow's
    form), ``leaderboard`` (tabular: every trial, the best first) and ``metrics`` (all metrics of all trials as JSON).

    :param automl_config: an ``AutoMLConfig``.
    :param inputs: inputs named ``training_data``, and ``validation_data`` and ``test_data`` if there are such. Data may
        be given in *automl_config* instead. (templated)
    :param compute_target: any compute target, Spark or not, or its name; default: that of *automl_config*, else
        ``local``. (templated)
    :param model_output: an ``OutputFileDatasetConfig`` in place of the default one: to register the model, say where it
        goes, or gate it.
    :param leaderboard_output: the same for the leaderboard.
    :param metrics_output: the same for the metrics.
    :param enable_default_model_output: whether there is a ``model`` if *model_output* is not given (v1).
    :param enable_default_metrics_output: whether there are ``metrics`` if *metrics_output* is not given (v1).
    :param driver_memory: of the Spark application; these six count on a Spark target only.
    :param driver_cores: a whole number.
    :param executor_memory: of one executor, beside what the models take in its Python.
    :param executor_cores: default: the configuration's ``max_cores_per_iteration``.
    :param num_executors: default: the configuration's ``max_concurrent_iterations``.
    :param conf: more Spark settings.
    :param passthru_automl_config: of v1, without meaning here.
    :param script_repl_params: of v1, not built.
    :param environment: packages that the step shall have beside those of the search. (templated)

    All other parameters: see :class:`~stepwell.operators.base.StepOperator`.
    """

    template_fields = (*(f for f in StepOperator.template_fields if f not in ("script_name", "arguments")),
                       "automl", "spark")  # fmt: skip
    template_fields_renderers = {**StepOperator.template_fields_renderers, "automl": "json", "spark": "json"}
    operator_extra_links = (*StepOperator.operator_extra_links, AutoMLReportLink())
    ui_color = "#dcefdc"
    step_kind = "automl"

    def __init__(
        self,
        *,
        automl_config: Any,
        inputs: Any = None,
        compute_target: Any = None,
        model_output: Any = None,
        leaderboard_output: Any = None,
        metrics_output: Any = None,
        enable_default_model_output: bool = True,
        enable_default_metrics_output: bool = True,
        driver_memory: str = "4g",
        driver_cores: int = 1,
        executor_memory: str = "2g",
        executor_cores: int | None = None,
        num_executors: int | None = None,
        conf: Mapping[str, Any] | None = None,
        passthru_automl_config: bool = True,
        script_repl_params: Any = None,
        **kwargs: Any,
    ) -> None:
        from stepwell.compute.spark_settings import settings

        given = _settings_of(automl_config)
        _refuse(kwargs, script_repl_params)
        outputs = {
            MODEL: _output(MODEL, model_output, default=enable_default_model_output),
            LEADERBOARD: _output(LEADERBOARD, leaderboard_output, default=True),
            METRICS: _output(METRICS, metrics_output, default=enable_default_metrics_output),
        }
        made = [output for output in outputs.values() if output is not None]
        super().__init__(
            inputs=_inputs(automl_config, inputs),
            outputs=made,
            compute_target=compute_target or getattr(automl_config, "compute_target", None),
            **kwargs,
        )
        self.model, self.leaderboard, self.metrics = outputs.values()
        best = {"iteration": None, "metric": None}  # by the primary metric
        cores = given.get("max_cores_per_iteration") or 1
        # A task of Spark is a worker of the search: it has its cores, and nobody runs it twice.
        per_task = {"spark.speculation": "false", **({"spark.task.cpus": str(cores)} if cores > 1 else {})}
        self.automl = {"settings": given, "outputs": {} if self.model is None else {MODEL: best}}
        self.spark = {
            "driver_memory": driver_memory,
            "driver_cores": driver_cores,
            "executor_memory": executor_memory,
            "executor_cores": _at_least_1(cores, executor_cores),
            "num_executors": _at_least_1(given.get("max_concurrent_iterations"), num_executors),
            "app_name": self.step_name,
            "conf": {**per_task, **(conf or {})},
        }
        settings(self.spark)

    def get_output(self, iteration: int | None = None, metric: str | None = None) -> OutputFileDatasetConfig:
        """Return a model as an output of this step: ``search.get_output(metric="accuracy").as_input("model")``.

        Without arguments, or by the primary metric, it is :attr:`model`. Any other is fitted by the step as
        well, and is one more output of it.

        :param iteration: the model of this trial, from 0.
        :param metric: the best one by this metric.
        :raises UserErrorException: both are given; no such metric or iteration; the step has no model output.
        """
        if iteration is None and metric in (None, self.automl["settings"].get("primary_metric")):
            if self.model is None:
                raise UserErrorException(
                    f"The step {self.task_id!r} has no output 'model'", hint="Leave enable_default_model_output out"
                )
            return self.model
        if iteration is not None and metric is not None:
            raise UserErrorException(f"get_output(iteration={iteration!r}, metric={metric!r})", hint="Give one of them")
        name = f"{MODEL}_{self._checked(iteration, metric)}"
        if name not in self.automl["outputs"]:
            output = OutputFileDatasetConfig(name)
            added = ports.plain_outputs([output], self)
            self.outputs = {**self.outputs, **added}
            wanted = {"iteration": iteration, "metric": metric}
            self.automl = {**self.automl, "outputs": {**self.automl["outputs"], name: wanted}}
            self._more[name] = output
        return self._more[name]

    @property
    def _more(self) -> dict[str, OutputFileDatasetConfig]:
        """The outputs that :meth:`get_output` has added."""
        found: dict[str, OutputFileDatasetConfig] = self.__dict__.setdefault("_more_outputs", {})
        return found

    def _checked(self, iteration: Any, metric: Any) -> str:
        """Return what names the model: a metric of the task, or the number of an iteration."""
        settings = self.automl["settings"]
        if iteration is None:
            from stepwell.runtime.automl import check_metric

            return check_metric(settings["task"], metric)
        ensembles = [name for name in ("enable_voting_ensemble", "enable_stack_ensemble") if settings.get(name)]
        most = (settings.get("iterations") or 1000) + len(ensembles)  # these come last
        whole = isinstance(iteration, int) and not isinstance(iteration, bool)
        if not whole or not 0 <= iteration < most:
            raise UserErrorException(
                f"iteration={iteration!r} is not an iteration of this search", allowed=[f"0 to {most - 1}"]
            )
        return str(iteration)

    def specification(self, context: Any) -> StepSpec:
        """Return the step as plain, rendered data."""
        from stepwell.environment import automl_packages

        return replace(
            super().specification(context),
            module=MODULE,
            settings=self.automl,
            packages=tuple(automl_packages()),
            resumes=TRIALS,
            spark=self.spark,
        )


def _settings_of(config: Any) -> dict[str, Any]:
    settings = getattr(config, "settings", None)
    if not isinstance(settings, Mapping) or not isinstance(getattr(config, "data", None), Mapping):
        raise UserErrorException(f"automl_config={config!r} is not a configuration", allowed=["an AutoMLConfig"])
    return copy.deepcopy(dict(settings))


def _refuse(kwargs: Mapping[str, Any], script_repl_params: Any) -> None:
    """Refuse what an AutoML step has no place for.

    :raises UserErrorException: it was given.
    """
    if kwargs.get("outputs"):
        raise UserErrorException(
            "AutoMLStepOperator takes no outputs=: it has its own",
            hint="Use model_output=, leaderboard_output=, metrics_output=, or get_output()",
        )
    for name in ("script_name", "arguments"):
        if kwargs.get(name):
            raise UserErrorException(f"AutoMLStepOperator takes no {name}=: it runs no script of yours")
    if script_repl_params:
        raise UserErrorException("The parameter script_repl_params is not built yet", hint="Leave it out")


def _inputs(config: Any, inputs: Any) -> Any:
    """Return the step's inputs, from where they were given.

    :raises UserErrorException: no training data; an input of another name; one that is given twice.
    """
    if isinstance(inputs, Mapping):  # a mapped step that Airflow builds anew
        return inputs
    found: dict[str, DatasetConsumptionConfig] = {}
    for item in _listed(inputs):
        name = getattr(item, "name", None) if isinstance(item, DatasetConsumptionConfig) else None
        if name not in INPUTS:
            raise UserErrorException(
                f"The input {item!r} of an AutoML step is named {name!r}"
                if name
                else f"The input {item!r} has no name",
                allowed=INPUTS,
                hint='Name it: output.as_input("training_data"), dataset.as_named_input("training_data")',
            )
        if name in found:
            raise UserErrorException(f"Two inputs are named {name!r}")
        found[name] = item
    for name, value in config.data.items():
        if value is None:
            continue
        if name not in INPUTS:
            raise UserErrorException(
                f"AutoMLConfig({name}=…) is for searches in a script, not for steps", allowed=INPUTS
            )
        if name in found:
            raise UserErrorException(f"{name} is in inputs= and in AutoMLConfig({name}=…)", hint="Give it once")
        found[name] = _consumption(name, value)
    if "training_data" not in found:
        raise UserErrorException(
            "The AutoML step has no training data",
            hint='Give inputs=[dataset.as_named_input("training_data")], or AutoMLConfig(training_data=dataset)',
        )
    return [found[name] for name in INPUTS if name in found]


def _listed(inputs: Any) -> Sequence[Any]:
    if inputs is None:
        return ()
    if not isinstance(inputs, list | tuple):
        raise UserErrorException(f"inputs={inputs!r} is not a list of inputs")
    return inputs


def _consumption(name: str, value: Any) -> DatasetConsumptionConfig:
    """Return what ``AutoMLConfig(<name>=…)`` was given as an input of that name."""
    if isinstance(value, DatasetConsumptionConfig):
        return value.renamed(name)
    if isinstance(value, OutputDatasetConfig):
        return value.as_input(name)
    kind = type(value)
    if kind.__module__.partition(".")[0] in _IN_MEMORY and not isinstance(value, tuple | dict):
        raise UserErrorException(
            f"AutoMLConfig({name}=…) is a {kind.__name__}, which is nowhere but in this process",
            allowed=["a Dataset", "an output of a step", "an input (dataset.as_named_input(…))"],
            hint="Write it to a file on a datastore, and give Dataset.Tabular.from_parquet_files(…)",
        )
    return DatasetConsumptionConfig(name, value)


def _output(name: str, given: Any, *, default: bool) -> OutputFileDatasetConfig | None:
    """Return the output *name*: what was *given*, under this name, else the default one.

    :raises UserErrorException: it is no output by upload, or is read in a way that it is not written in.
    """
    tabular = name == LEADERBOARD
    if given is None:
        output = OutputFileDatasetConfig(name) if default else None
    elif not isinstance(given, OutputFileDatasetConfig):
        raise UserErrorException(f"{name}_output={given!r} is no output by upload", allowed=["OutputFileDatasetConfig"])
    else:
        output = given
        if given.read and (not tabular or given.read["format"] != "parquet"):
            what = "is written as parquet" if tabular else "is a folder of files, not a table"
            raise UserErrorException(f"{name}_output: the {name} {what}", hint="Leave the read_…_files() out")
        if given.port.producer is None:  # else it is refused with the step that writes it
            given.port.name = name
    return output if output is None or not tabular or output.read else output.read_parquet_files()


def _at_least_1(configured: Any, given: int | None) -> Any:
    """Return what was *given*; else what is configured, which may be -1 for "all there are"."""
    if given is not None:
        return given
    return configured if isinstance(configured, int) and configured > 0 else 1
