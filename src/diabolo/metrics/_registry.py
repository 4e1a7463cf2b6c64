"""Families of metrics by name: what `evaluate(metrics=...)` and `diabolo evaluate --metrics` may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from diabolo._imported import is_path, trust
from diabolo.config import Names
from diabolo.errors import ConfigError, PartError, unknown_name
from diabolo.metrics._scorecard import Measurement

if TYPE_CHECKING:
    from diabolo.metrics._context import EvaluationContext

__all__ = ["Family", "families", "metric_family", "metric_names", "resolve_metrics"]

Measure = Callable[["EvaluationContext"], Iterator[Measurement]]


@dataclass(frozen=True)
class Family:
    """Metrics that one function gives, because they share its work.

    Attributes:
        name: of the family.
        metrics: the names of its metrics.
        measure: context -> measurements; it may leave some out, and says so in `context.left_out`.
    """

    name: str
    metrics: tuple[str, ...]
    measure: Measure

    def measurements(self, context: EvaluationContext) -> Iterator[Measurement]:
        """The measurements that the context asks for.

        Raises:
            ConfigError: the function gave a metric that the family does not list.
        """
        if not context.metrics.intersection(self.metrics):
            return
        for measurement in self.measure(context):
            if measurement.name not in self.metrics:
                raise ConfigError(
                    f"The family {self.name!r} lists the metrics {', '.join(self.metrics)}, and gave "
                    f"{measurement.name!r}: list it in metric_family(...), or rename the measurement."
                )
            if measurement.name in context.metrics:
                yield measurement


class Families(Names[Family]):
    """Families by name; an import path names the function below `metric_family`."""

    def part(self, item: Any, what: str) -> Family:
        """The family that a function of another module gives.

        Raises:
            PartError: it is none of those that `metric_family` decorates.
        """
        family = next((one for one in self.values() if one.measure is item), None)
        if family is None:
            holds = "nothing of that name" if item is None else f"{item!r}"
            raise PartError(
                f"{what} should be a function below @metric_family(...) of diabolo.metrics, and the module holds "
                f"{holds}."
            )
        return family

    def definition(self, item: Family) -> Any:
        """The function of a family."""
        return item.measure


families = Families("metric", "diabolo.metrics")


def metric_family(name: str, *metrics: str) -> Callable[[Measure], Measure]:
    """A decorator that adds a family of metrics to `evaluate`, `compare` and the command line.

    The function takes an `EvaluationContext` and yields a `Measurement` for each metric. What the data lacks (labels,
    factors) is no error: the function appends a sentence to `context.left_out` and returns.

    Args:
        name: of the family.
        metrics: the names of its metrics; the family's own name when left out.

    Raises:
        ConfigError: a family or a metric of this name exists.

    >>> from diabolo.metrics import Measurement, bootstrap, metric_names
    >>> @metric_family("sparsity")
    ... def measure_sparsity(context):
    ...     zeros = (abs(context.codes) < 1e-3).mean(1)
    ...     yield Measurement("sparsity", "sparsity", "", bootstrap(zeros), "", "share of latent numbers below 0.001")
    >>> "sparsity" in metric_names()
    True
    >>> families["sparsity"].metrics
    ('sparsity',)
    """
    metrics = metrics or (name,)

    def register(measure: Measure) -> Measure:
        names = {family.name for family in families.values()} | set(_all_metrics())
        for new in {name, *metrics} & names:
            raise ConfigError(f"There is a metric, or a family of metrics, named {new!r} already: choose another name.")
        families.register(name, Family(name, metrics, measure))
        return measure

    return register


def metric_names() -> tuple[str, ...]:
    """The names of all families and of all single metrics, without those that installed packages add.

    >>> metric_names()[:3]
    ('bounds', 'pixels', 'baseline')
    """
    names = dict.fromkeys((*families, *_all_metrics()))  # a family of one metric may share its name
    return tuple(names)


def resolve_metrics(names: str | Sequence[str] | None) -> frozenset[str]:
    """The single metrics that names of families and metrics stand for; all of them for None.

    Args:
        names: of families and metrics, with commas between them, or a sequence; `module:function` for one of your own,
            or the name that an installed package gives one.

    Raises:
        ConfigError: an unknown name, or no name at all.

    >>> sorted(resolve_metrics(["pixels", "kl"]))
    ['kl', 'mse', 'psnr', 'ssim']
    """
    if names is None:
        return frozenset(_all_metrics())
    chosen: Any = [name for name in names.split(",") if name] if isinstance(names, str) else names
    if not isinstance(chosen, Sequence) or not all(isinstance(name, str) for name in chosen):
        raise ConfigError(f"metrics should be names, such as ['pixels', 'fid'], and was given {names!r}.")
    names = chosen
    trust(name for name in names if is_path(name))  # whoever names code wants it run
    metrics = {metric for name in names for metric in _metrics_of(name)}
    if not metrics:
        raise ConfigError("No metric was named: leave metrics out to measure all that apply.")
    return frozenset(metrics)


def _metrics_of(name: str) -> tuple[str, ...]:
    """The metrics of a family, or the one of that name."""
    if name not in metric_names() and name not in families:
        raise unknown_name("metric", name, [*metric_names(), *families.of_packages()])
    return (name,) if name in _all_metrics() and name not in [*families] else families[name].metrics


def _all_metrics() -> tuple[str, ...]:
    return tuple(metric for family in families.values() for metric in family.metrics)
