"""The objects that are fitted to the latent codes of a trained model, saved in its folder beside the weights."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from diabolo.latent.anomalies import Threshold
from diabolo.latent.code_statistics import CodeStatistics
from diabolo.latent.concepts import ConceptVector
from diabolo.models.priors import Prior, load_prior
from diabolo.storage.checkpoint import load_tensors, save_tensors, weights_of
from diabolo.storage.files import read_json, write_json
from diabolo.storage.generation import file_of, names_in

__all__ = [
    "CONCEPTS",
    "PRIOR",
    "STATISTICS",
    "THRESHOLD",
    "LatentArtifacts",
    "artifacts_in",
    "concept_path",
    "name_of",
    "outdated",
    "stamp",
    "words_for",
]

log = logging.getLogger("diabolo")

CONCEPTS = "concepts"
PRIOR = "prior.safetensors"
STATISTICS = "statistics.safetensors"
THRESHOLD = "threshold.json"


@dataclass
class LatentArtifacts:
    """Concept vectors, a fitted prior, the statistics of the training codes, a threshold; each may be missing.

    Attributes:
        concepts: name -> concept vector.
        prior: a density fitted to the training codes.
        statistics: mean and covariance of the training codes.
        threshold: the score above which an example counts as an anomaly.

    >>> import tempfile
    >>> artifacts = LatentArtifacts(threshold=Threshold.calibrate(range(99), 0.05, kind="elbo"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     artifacts.save(Path(folder))
    ...     LatentArtifacts.load(Path(folder)).threshold.value
    94.0
    """

    concepts: dict[str, ConceptVector] = field(default_factory=dict)
    prior: Prior | None = None
    statistics: CodeStatistics | None = None
    threshold: Threshold | None = None

    def save(self, folder: Path, weights: str = "") -> None:
        """Writes a file for each object, as a whole or not at all.

        Args:
            folder: of a run.
            weights: the digest of the weights whose codes they were fitted to.

        Raises:
            StorageError: a file could not be written.
        """
        for part in (*self.concepts.values(), self.prior, self.statistics, self.threshold):
            if part is not None:
                part.save(folder / name_of(part), weights)

    @classmethod
    def load(cls, folder: Path, weights: str = "") -> LatentArtifacts:
        """The objects in the folder of a run; those that were fitted to other weights are left out, with a warning.

        Args:
            folder: of the run.
            weights: the digest of its weights.

        Raises:
            RunError: a file is truncated or was edited.
        """
        others = outdated(folder, weights) if weights else []
        if learned := [name for name in others if name != STATISTICS]:
            log.warning(
                "%s: fitted to the codes of other weights than it has now, and left out: %s. Learn them again.",
                folder, words_for(learned),
            )  # fmt: skip
        paths = {name: file_of(folder, name) for name in artifacts_in(folder) if name not in others}
        return cls(
            {Path(name).stem: ConceptVector.load(path) for name, path in paths.items() if name.startswith(CONCEPTS)},
            load_prior(paths[PRIOR]) if PRIOR in paths else None,
            CodeStatistics.load(paths[STATISTICS]) if STATISTICS in paths else None,
            Threshold.load(paths[THRESHOLD]) if THRESHOLD in paths else None,
        )


def artifacts_in(folder: Path) -> list[str]:
    """The names of the files of such objects, relative to the folder of a run.

    >>> artifacts_in(Path("nowhere"))
    []
    """
    single = [name for name in (PRIOR, STATISTICS, THRESHOLD) if file_of(folder, name).exists()]
    return [*names_in(folder, f"{CONCEPTS}/*.safetensors"), *single]


def outdated(folder: Path, weights: str) -> list[str]:
    """Those of `artifacts_in` that say that they belong to other weights than those of this digest."""
    return [name for name in artifacts_in(folder) if _belongs_to(file_of(folder, name)) not in ("", weights)]


def stamp(folder: Path, weights: str) -> None:
    """Makes objects say that they belong to these weights, where an earlier version of diabolo did not."""
    for path in (folder / name for name in artifacts_in(folder)):
        if not _belongs_to(path):
            if path.suffix == ".json":
                write_json(path, {**read_json(path), "weights": weights})
            else:
                save_tensors(path, *load_tensors(path), weights)


def words_for(names: list[str]) -> str:
    """The objects in files of these names, for messages.

    >>> words_for(["concepts/smile.safetensors", "threshold.json"])
    "the concept 'smile', the threshold"
    """
    others = {PRIOR: "the fitted prior", THRESHOLD: "the threshold", STATISTICS: "the statistics of the codes"}
    return ", ".join(others.get(name, f"the concept {Path(name).stem!r}") for name in names)


def name_of(part: ConceptVector | Prior | CodeStatistics | Threshold) -> str:
    """The name of the file of an object, relative to the folder of a run."""
    if isinstance(part, ConceptVector):
        return f"{CONCEPTS}/{part.name}.safetensors"
    return PRIOR if isinstance(part, Prior) else STATISTICS if isinstance(part, CodeStatistics) else THRESHOLD


def concept_path(folder: Path, name: str) -> Path:
    """The file of a concept vector in the folder of a run.

    >>> concept_path(Path("run"), "smile").as_posix()
    'run/concepts/smile.safetensors'
    """
    return folder / CONCEPTS / f"{name}.safetensors"


def _belongs_to(path: Path) -> str:
    """The digest of the weights that an object was fitted for; empty where its file does not say."""
    return str(read_json(path).get("weights", "")) if path.suffix == ".json" else weights_of(path)
