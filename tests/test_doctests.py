"""Examples in docstrings: they run, and every public name of a room has one."""

from __future__ import annotations

import doctest
import functools
import importlib
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import diabolo
from diabolo.callbacks import loggers
from diabolo.datasets._readers import readers
from diabolo.explorer import layouts
from diabolo.metrics._registry import families

HELD = [
    "diabolo.bulk",
    "diabolo.metrics",
    "diabolo.sklearn",
    "diabolo.errors",
    "diabolo.config",
    "diabolo.devices",
    "diabolo.storage",
    "diabolo.datasets",
    "diabolo.models.distributions",
    "diabolo.models.objectives",
    "diabolo.models.networks.conv",
    "diabolo.models.networks.resnet",
    "diabolo.models.preprocess",
    "diabolo.models.priors",
    "diabolo.latent",
    "diabolo.figures",
    "diabolo.evaluation",
    "diabolo",
    "diabolo.autoencoder",
    "diabolo.callbacks",
    "diabolo.models",
    "diabolo.runs",
    "diabolo.training",
    "diabolo.training.distributed",
    "diabolo.metrics",
    "diabolo.diagnostics",
    "diabolo.report",
    "diabolo.explorer",
    "diabolo.export",
    "diabolo.bulk",
    "diabolo.sklearn",
    "diabolo.cli",
]
"""The rooms in which every public function and class has an example. A room is added once its docstrings have them."""

WITHOUT = {
    "diabolo.models.distributions.Posterior": "abstract: the examples of Dirac and DiagonalGaussian show it",
    "diabolo.models.networks._base.Network": "abstract: the examples of MLP, Conv and ResNet show it",
    "diabolo.explorer._explore.explore": "it starts a server",
    "diabolo.models.objectives._base.Net": "a protocol: the example of Objective uses it",
    "diabolo.models.objectives.Net": "a protocol: the example of Objective uses it",
    "diabolo.report.write_report": "it draws all figures twice, which takes seconds",
    "diabolo.explorer.Exploring": "a running server",
    "diabolo.explorer.explore": "it starts a server",
    "diabolo.explorer.serve": "it runs a server",
    "diabolo.explorer.serve_explorer": "it runs a server",
    "diabolo.export.Exported": "an export takes seconds",
    "diabolo.export.export_onnx": "an export takes seconds",
}
"""Names without an example, and why. Exceptions need none: they are raised, not called."""

OPTIONAL = {
    "diabolo.bulk._run": "pyarrow",
    "diabolo.callbacks.tensorboard": "tensorboardX",
    "diabolo.storage.parquet": "pyarrow",
    "diabolo.models.priors.flow": "zuko",
}
"""The package that a module's examples need and that may be missing."""

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(diabolo.__path__, "diabolo.")]
    return ["diabolo", *(name for name in names if not name.endswith("__main__"))]


def with_examples() -> list[str]:
    """The modules that have an example; found in the text, so that collecting imports no optional package."""
    names = []
    for name in modules():
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None and ">>> " in Path(spec.origin).read_text(encoding="utf-8"):
            names.append(name)
    return names


@pytest.mark.parametrize("name", with_examples())
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name], reason=f"{OPTIONAL[name]} is not installed")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("diabolo"):
            raise
        pytest.skip(f"{error.name} is not installed")
    monkeypatch.setattr(readers, "_items", dict(readers._items))  # an example may register something
    for names in (loggers, layouts, families):
        monkeypatch.setattr(names, "_items", dict(names._items))
    shared = of_the_class() if name.startswith("diabolo.autoencoder.") else {}
    result = doctest.testmod(module, optionflags=FLAGS, extraglobs=shared)
    assert result.failed == 0
    assert result.attempted > 0


@functools.cache
def of_the_class() -> dict[str, object]:
    """What the example of `Autoencoder` makes, with which those of its methods go on."""
    example = doctest.DocTestFinder(recurse=False).find(diabolo.Autoencoder, "Autoencoder", globs={})[0]
    doctest.DocTestRunner(optionflags=FLAGS).run(example, clear_globs=False)
    return example.globs


def public(room: ModuleType) -> dict[str, Any]:
    """The public functions and classes of a room by name."""
    items = {name: getattr(room, name) for name in room.__all__}
    return {name: item for name, item in items.items() if inspect.isfunction(item) or inspect.isclass(item)}


def test_public_methods_have_an_example_too_where_they_are_the_user_s() -> None:
    methods = {name: item for name, item in vars(diabolo.Autoencoder).items() if inspect.isfunction(item)}
    methods |= {name: item for name, item in vars(diabolo.Autoencoder.__mro__[1]).items() if inspect.isfunction(item)}
    missing = [name for name, item in methods.items() if name[0] != "_" and ">>> " not in (item.__doc__ or "")]
    assert not missing


@pytest.mark.parametrize("room", HELD)
def test_public_names_have_an_example(room: str) -> None:
    items = public(importlib.import_module(room))
    missing = [
        name
        for name, item in items.items()
        if not {f"{room}.{name}", f"{item.__module__}.{name}"} & WITHOUT.keys()
        and not (inspect.isclass(item) and issubclass(item, BaseException))
        and ">>> " not in (inspect.getdoc(item) or "")
    ]
    assert not missing, f"{room}: without an example in the docstring: {', '.join(missing)}"
