"""What is learned about the codes of a trained model, and lies in its folder beside the weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diabolo.latent.anomalies import CodeStatistics, Threshold
from diabolo.latent.concepts import ConceptVector
from diabolo.models.priors import Prior, load_prior

__all__ = ["CONCEPTS", "PRIOR", "STATISTICS", "THRESHOLD", "LatentArtifacts", "concept_path", "learned_names"]

CONCEPTS = "concepts"
PRIOR = "prior.safetensors"
STATISTICS = "statistics.safetensors"
THRESHOLD = "threshold.json"


@dataclass
class LatentArtifacts:
    """Concept vectors, a fitted prior, the statistics of the training codes, a threshold: each where there is one.

    Attributes:
        concepts: name -> concept vector.
        prior: a density fitted to the training codes.
        statistics: mean and covariance of the training codes.
        threshold: the score above which an example counts as an anomaly.
    """

    concepts: dict[str, ConceptVector] = field(default_factory=dict)
    prior: Prior | None = None
    statistics: CodeStatistics | None = None
    threshold: Threshold | None = None

    def save(self, folder: Path) -> None:
        """Writes what there is, each file whole or not at all, and removes files of what there is no more.

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
        """What a run's folder holds.

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
    """What a run's folder holds that was learned of its codes, in words; not the statistics, which training takes."""
    concepts = [f"the concept {path.stem!r}" for path in sorted((folder / CONCEPTS).glob("*.safetensors"))]
    others = {PRIOR: "the fitted prior", THRESHOLD: "the threshold"}
    return concepts + [name for file, name in others.items() if (folder / file).exists()]


def concept_path(folder: Path, name: str) -> Path:
    """Where a concept vector lies in a run's folder."""
    return folder / CONCEPTS / f"{name}.safetensors"
