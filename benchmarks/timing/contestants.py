"""Who races: each peer, its script, its environment, and what it is in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = [
    "BEFORE",
    "CAPTURED",
    "COMPILED",
    "CONTESTANTS",
    "FLOOR",
    "LOSSES",
    "OURS",
    "OURS_BF16",
    "Contestant",
    "chosen",
]


@dataclass(frozen=True)
class Contestant:
    """One way to train a workload.

    Args:
        name: by which it is chosen; a family shares what stands before the slash.
        script: in the folder `peers`.
        environment: the name of its pinned versions in that folder; none is the environment that runs the benchmark.
        what: what it is, for the page.
        variant: what its script is told.
        workloads: those it takes part in.
        gpu: whether it runs on a GPU, too.
        cpu: whether it runs on processors.
    """

    name: str
    script: str
    environment: str | None
    what: str
    variant: str = ""
    workloads: tuple[str, ...] = ("W1", "W2", "W3")
    gpu: bool = False
    cpu: bool = True

    @property
    def family(self) -> str:
        """The peer that it is a form of."""
        return self.name.partition("/")[0]


OURS, COMPILED, CAPTURED, OURS_BF16 = "diabolo", "diabolo/compiled", "diabolo/captured", "diabolo/bf16"
BEFORE = "before"  # another checkout of diabolo, which races where one is named
FLOOR = "floor"  # takes its turn in each race on processors, and is no contestant
CONTESTANTS = (
    Contestant(
        OURS, "ours.py", None, "`diabolo.train(x, recipe=...)` at its defaults: bf16 where the processor multiplies it",
        gpu=True,
    ),
    Contestant(BEFORE, "ours.py", None, "the same from another checkout of diabolo (`--before`)", gpu=True),
    Contestant(
        COMPILED, "ours.py", None,
        "the same with `compile='on'`, which `auto` would not take for so few epochs; compiling is in the first epoch, "
        "as it is with JAX and Keras",
        "compiled", ("W1", "W2"),
    ),
    Contestant(
        CAPTURED, "ours.py", None, "with `compile='on'`, which on a GPU captures the step in a CUDA graph", "compiled",
        gpu=True, cpu=False,
    ),
    Contestant("diabolo/float32", "ours.py", None, "the same with `precision='float32'`", "float32", gpu=True),
    Contestant(
        "plain", "plain.py", "plain",
        "the loop of the tutorials: a TensorDataset of floats, a DataLoader that shuffles, eager steps of torch's own "
        "optimizer, the loss read after each",
        gpu=True,
    ),
    Contestant(
        "pythae", "pythae_trainer.py", "pythae",
        "pythae 0.1.2's `BaseTrainer` with its VAE and BetaVAE; its AE knows the squared error alone, so W1 "
        "overrides that with its VAE's cross-entropy",
        gpu=True,
    ),
    Contestant(
        "keras/jax", "keras_fit.py", "keras-jax",
        "Keras 3's `Model.fit` on an array in memory, JAX behind it, no progress bar", "jax",
    ),
    Contestant("keras/tensorflow", "keras_fit.py", "keras-tensorflow", "the same, TensorFlow behind it", "tensorflow"),
    Contestant(
        "jax/step", "jax_by_hand.py", "jax",
        "JAX by hand: one jitted step, its state donated, batches gathered inside it", "step",
    ),
    Contestant(
        "jax/scan", "jax_by_hand.py", "jax",
        "the same step scanned over a whole epoch in one call (not for W3: XLA's convolutions are many times slower "
        "inside a loop on a processor)",
        "scan", ("W1", "W2"),
    ),
    Contestant(
        "jax/patches", "jax_by_hand.py", "jax",
        "the jitted step with each convolution written as one product of patches", "patches", ("W3",),
    ),
)  # fmt: skip

FLOAT32 = next(one for one in CONTESTANTS if one.name == "diabolo/float32")
LOSSES = (  # whose losses are compared, the first with each of the others
    FLOAT32,
    replace(FLOAT32, name=OURS_BF16, what="the same with `precision='bf16'`", variant="bf16"),
    next(one for one in CONTESTANTS if one.name == COMPILED),
)


def chosen(names: list[str] | None, workload: str, device: str, before: bool = False) -> list[Contestant]:
    """Those that race at a workload: diabolo and the peers that were named, or all of them.

    Args:
        names: of peers; None is all.
        workload: a key of WORKLOADS.
        device: `cpu` or `cuda`.
        before: whether there is another checkout of diabolo, which races, too.

    Raises:
        SystemExit: there is no such peer.
    """
    known = {name for one in CONTESTANTS for name in (one.name, one.family)} - {BEFORE}
    unknown = sorted(set(names or ()) - known)
    if unknown:
        raise SystemExit(f"There is no peer named {unknown[0]!r}. Known: {', '.join(sorted(known))}.")
    named = {*(names if names is not None else known), OURS} | ({BEFORE} if before else set())
    return [
        one
        for one in CONTESTANTS
        if workload in one.workloads and (one.cpu if device == "cpu" else one.gpu) and {one.name, one.family} & named
    ]
