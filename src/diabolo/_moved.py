"""Yesterday's paths and names: importing one is an error that names today's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["MODULES", "NAMES", "Moved", "install", "unknown", "without_names"]

MODULES = {
    "anomalies": "latent.anomalies",
    "attachments": "latent.artifacts",
    "batches": "training.batches",
    "checkpoint": "storage.checkpoint",
    "coder": "autoencoder.inference",
    "comparison": "metrics.comparison",
    "concepts": "latent.concepts",
    "distributions": "models.distributions",
    "files": "storage.files",
    "flows": "models.priors",
    "gallery": "report.run_figures",
    "history": "storage.history",
    "images": "storage.images",
    "model": "models.model",
    "networks": "models.networks",
    "objectives": "models.objectives",
    "opening": "runs.data",
    "optimizers": "training.optimizers",
    "parquet": "storage.parquet",
    "pictures": "callbacks.pictures",
    "plans": "runs.config",
    "preprocess": "models.preprocess",
    "priors": "models.priors",
    "processes": "training.distributed",
    "progress": "callbacks.progress",
    "recipes": "runs.recipes",
    "scores": "evaluation.scores",
    "settings": "training.settings",
    "signature": "config",
    "stacks": "models.engine",
    "tables": "runs.tables",
    "tensorboard": "callbacks.tensorboard",
    "threads": "training.speed.threads",
    "verdict": "diagnostics",
}

NAMES = {
    "autoencoder.Coder": "autoencoder.inference.Inference",
    "autoencoder.CONFIG": "autoencoder.files.CONFIG",
    "autoencoder.EXAMPLES": "autoencoder.files.EXAMPLES",
    "autoencoder.read_config": "autoencoder.files.read_config",
    "evaluation.Meter": "models.objectives.Meter",
    "explorer.explore_beside": "explorer.explore",
    "models.distributions.Code": "models.distributions.Posterior",
    "models.engine.Stack": "models.engine.FusedEngine",
    "runs.Plan": "runs.config.RunConfig",
    "runs.config.Plan": "runs.config.RunConfig",
    "runs.config.make_plan": "runs.config.make_run_config",
    "training.distributed.Processes": "training.distributed.ProcessGroup",
    "latent.artifacts.Attachments": "latent.artifacts.LatentArtifacts",
}


class Moved:
    """The last finder of modules, which is asked for those that nobody else found."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing.

        Raises:
            ModuleNotFoundError: the name is one of yesterday's; says today's, and which names in it are new.
        """
        package, _, old = name.partition(".")
        if package != "diabolo" or old not in MODULES:
            return
        module = MODULES[old]
        renamed = [
            f"{was.rpartition('.')[2]} is now {now.rpartition('.')[2]}"
            for was, now in NAMES.items()
            if was.rpartition(".")[0] == module
        ]
        there = f" ({', '.join(renamed)})" if renamed else ""
        raise ModuleNotFoundError(f"diabolo.{old} has moved: import it from diabolo.{module}{there}.")


def install() -> None:
    """Adds the finder, once."""
    if Moved not in sys.meta_path:
        sys.meta_path.append(Moved)


def unknown(module: str, name: str) -> Exception:
    """The error for a name that a module does not have: for one of yesterday's, what it is called today."""
    today = NAMES.get(f"{module.removeprefix('diabolo.')}.{name}")
    if today is not None:
        return ImportError(f"{module}.{name} has another name now: diabolo.{today}.")
    return AttributeError(f"module {module!r} has no attribute {name!r}")


def without_names(module: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that once had names which it has no more."""

    def getattribute(name: str) -> Any:
        raise unknown(module, name)

    return getattribute
