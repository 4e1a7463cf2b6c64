"""The objects that are fitted to the latent codes of a trained model, saved in its folder beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diabolo.latent.anomalies import Threshold
from diabolo.latent.code_statistics import CodeStatistics
from diabolo.latent.concepts import ConceptVector
from diabolo.models.priors import Prior, load_prior

__all__ = ["CONCEPTS", "PRIOR", "STATISTICS", "THRESHOLD", "LatentArtifacts", "concept_path", "learned_names"]

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

    def save(self, folder: Path) -> None:
        """Writes a file for each object, as a whole or not at all, and removes the files of objects that are gone.

        Raises:
            StorageError: a file could not be written.
        """
        for name, concept in self.concepts.items():
            concept.save(concept_path(folder, name))
        for path in (folder / CONCEPTS).glob("*.safetensors"):
            if path.stem not in self.concepts:
                path.unlink()
        for file, part in ((PRIOR, self.prior), (STATISTICS, self.statistics), (THRESHOLD, self.threshold)):
            if part is None:
                (folder / file).unlink(missing_ok=True)
            else:
                part.save(folder / file)

    @classmethod
    def load(cls, folder: Path) -> LatentArtifacts:
        """The objects in the folder of a run.

        Raises:
            RunError: a file is truncated or was edited.
        """
        return cls(
            {path.stem: ConceptVector.load(path) for path in sorted((folder / CONCEPTS).glob("*.safetensors"))},
            load_prior(folder / PRIOR) if (folder / PRIOR).exists() else None,
            CodeStatistics.load(folder / STATISTICS) if (folder / STATISTICS).exists() else None,
            Threshold.load(folder / THRESHOLD) if (folder / THRESHOLD).exists() else None,
        )


def learned_names(folder: Path) -> list[str]:
    """The names of the objects in the folder of a run that a user fitted, for messages; training writes the statistics.

    >>> learned_names(Path("nowhere"))
    []
    """
    concepts = [f"the concept {path.stem!r}" for path in sorted((folder / CONCEPTS).glob("*.safetensors"))]
    others = {PRIOR: "the fitted prior", THRESHOLD: "the threshold"}
    return concepts + [name for file, name in others.items() if (folder / file).exists()]


def concept_path(folder: Path, name: str) -> Path:
    """The file of a concept vector in the folder of a run.

    >>> concept_path(Path("run"), "smile").as_posix()
    'run/concepts/smile.safetensors'
    """
    return folder / CONCEPTS / f"{name}.safetensors"
