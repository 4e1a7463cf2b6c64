"""The figures of a run: which there are, their captions, and the arrays behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from diabolo import figures
from diabolo.autoencoder.inference import Places
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split
from diabolo.evaluation.terms import ACTIVE
from diabolo.latent.geometry import manifold_grid
from diabolo.storage import images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RunFigure", "draw_all", "run_figures"]

Theme = Literal["light", "dark"]
SIDE = 15  # of the manifold: 15 x 15 latent codes
STEPS = np.linspace(-2.5, 2.5, 11)  # of a traversal, in standard deviations of the latent codes
MOST = 10_000  # points of a scatter
IN_3D = 500  # points of the 3-D scatter, the first training examples


@dataclass(frozen=True)
class RunFigure:
    """One figure of a run.

    Attributes:
        name: its file's name without suffix.
        title: its heading.
        caption: its content and how to read it.
        draw: theme -> the figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., Figure]


def run_figures(model: Autoencoder, dataset: Dataset, split: Split) -> Iterator[RunFigure]:
    """The figures that make sense for a model and its data, in the order of a report.

    Args:
        model: the trained model.
        dataset: the data.
        split: of the data. The figures show its test part; the validation or the training part where that is empty.
    """
    parts = {"test": split.test, "validation": split.validation, "training": split.train}
    part, indices = next((name, indices) for name, indices in parts.items() if len(indices))
    few, many = indices[:10], indices[:MOST]
    codes = model.encode(dataset.subset(many), flat=True)
    labels = None if dataset.y is None else dataset.y[many]
    yield _reconstructions(model, dataset, few, part)
    if images.is_image(model.layout):
        yield from _decoded(model, codes)
    yield from _scatters(model, dataset, codes, labels, split.train, f"{len(many):,} {part} examples")
    yield from _numbers(model, codes.var(0) > ACTIVE)


def draw_all(
    model: Autoencoder, dataset: Dataset, split: Split, folder: Path, *, theme: Theme = "light"
) -> Iterator[Path]:
    """Draws every figure of a run into a folder, as PNG, and yields each path when its file is written.

    Args:
        model: the trained model.
        dataset: the data.
        split: of the data.
        folder: of the files.
        theme: of the page that will show them.
    """
    suffix = "" if theme == "light" else "-dark"
    for figure in run_figures(model, dataset, split):
        path = folder / f"{figure.name}{suffix}.png"
        figures.save(figure.draw(theme=theme), path)
        yield path


def _reconstructions(model: Autoencoder, dataset: Dataset, few: np.ndarray, part: str) -> RunFigure:
    x = np.asarray(dataset.x[few])
    displayed = model.model.preprocess.displayed
    noise = model.model.objective.corrupts and model.model.config()["model"]["options"].get("noise")
    if noise:
        noisy, labels = model.corrupt(x, seed=0), model.labels_of(dataset)
        draw = partial(
            figures.reconstructions,
            displayed(x),
            displayed(model.reconstruct(noisy, None if labels is None else labels[few])),
            model.layout,
            noisy=displayed(noisy),
            features=dataset.features,
        )
        return RunFigure(
            "reconstructions", "Noise removed", f"{part.capitalize()} examples with the noise of training ({noise}), "
            "what the model makes of them, and the clean originals.", draw,
        )  # fmt: skip
    copies = displayed(model.reconstruct(dataset.subset(few)))
    draw = partial(figures.reconstructions, displayed(x), copies, model.layout, features=dataset.features)
    return RunFigure(
        "reconstructions", "Reconstructions", f"{part.capitalize()} examples above what the code kept of them.", draw
    )


def _decoded(model: Autoencoder, codes: np.ndarray) -> Iterator[RunFigure]:
    layout, displayed = model.layout, model.model.preprocess.displayed
    label, of = None, ""
    if model.labels != "none":  # one class, so that what changes is the code
        label = int(model.model.objective.in_turn(1)[0])
        of = f" All are of the class {model.model.objective.space.classes[label]}." if label >= 0 else ""
    if model.has_prior or model.prior is not None:
        origin = f"the prior {model.own_prior}" if model.prior is None else f"the fitted prior ({model.prior})"
        draw = partial(figures.samples, displayed(model.sample(100, seed=0)), layout, columns=10)
        yield RunFigure("samples", "Samples", f"Codes drawn from {origin}, seed 0, decoded.", draw)
    if model.latent_dim == 2 and model.has_prior:
        grid = manifold_grid(SIDE, prior=model.own_prior)
        ticks = np.stack([np.unique(grid[:, axis]) for axis in (0, 1)])
        draw = partial(
            figures.manifold, displayed(model.decode(grid, _each(label, len(grid)))), layout, SIDE, ticks=ticks
        )
        inverse = f"the inverse distribution function of {model.own_prior}"
        caption = f"{SIDE} x {SIDE} codes at equal steps of probability through {inverse}, decoded.{of}"
        yield RunFigure("manifold", "The plane of codes", caption, draw)
    center, spread = codes.mean(0), codes.std(0)
    dims = np.argsort(-spread)[: min(8, model.latent_dim)]
    walks = np.repeat(center[None], len(dims) * len(STEPS), 0).reshape(len(dims), len(STEPS), -1)
    for row, dim in enumerate(dims):
        walks[row, :, dim] += STEPS * spread[dim]
    codes = walks.reshape(-1, model.latent_dim).astype(np.float32)
    decoded = displayed(model.decode(codes, _each(label, len(codes))))
    draw = partial(figures.traversals, decoded, layout, [int(dim) for dim in dims], [round(float(v), 2) for v in STEPS])
    caption = (
        "Each row walks along one dimension of the code, from the mean code of the data, in that dimension's "
        f"standard deviations; the {len(dims)} dimensions that vary most.{of}"
    )
    yield RunFigure("traversals", "One dimension at a time", caption, draw)


def _each(label: int | None, count: int) -> np.ndarray | None:
    return None if label is None else np.full(count, label).view(Places)


def _scatters(
    model: Autoencoder, dataset: Dataset, codes: np.ndarray, labels: np.ndarray | None, train: np.ndarray, of: str
) -> Iterator[RunFigure]:
    if model.latent_dim == 3 and labels is not None and dataset.classes:
        first = train[:IN_3D] if len(train) else np.arange(min(IN_3D, len(dataset)))
        some = dataset.subset(first)
        assert some.y is not None  # noqa: S101 (as of the others)
        draw = partial(figures.scatter_3d, model.encode(some, flat=True), some.y, some.classes)
        yield RunFigure(
            "codes-3d",
            "Codes in space",
            f"The codes of the first {len(first)} training examples, each drawn as its class.",
            draw,
        )
    if model.latent_dim == 1 or len(codes) < 3 or not codes.var(0).any():
        return
    draw, what = partial(figures.scatter, codes, labels, dataset.classes), f"The codes of {of}"
    if model.latent_dim > 2:
        from sklearn.decomposition import PCA

        pca = PCA(2, random_state=0).fit(codes)
        draw = partial(_principal, pca.transform(codes), labels, dataset.classes)
        share = 100 * pca.explained_variance_ratio_.sum()
        what += f" on their first two principal components ({share:.0f}% of their variance)"
    yield RunFigure("codes", "Codes", what + (", by class." if dataset.classes else "."), draw)


def _principal(plane: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...], *, theme: Theme) -> Figure:
    """A scatter whose axes are principal components."""
    figure = figures.scatter(plane, labels, classes, theme=theme)
    figure.axes[0].set(xlabel="PC 1", ylabel="PC 2")
    return figure


def _numbers(model: Autoencoder, active: np.ndarray) -> Iterator[RunFigure]:
    lines = [line for line in model.history if line["kind"] == "epoch"]
    result = model.info.get("result", {})
    if lines:
        caption = "Each term as training went on: nats per example where nothing else is said."
        yield RunFigure(
            "curves", "Training", caption, partial(figures.curves, lines, best_epoch=result.get("kept_epoch"))
        )
    kl = result.get("test", {}).get("kl_per_dimension")
    if kl:
        caption = "How many nats each dimension of the code carries, on the test examples; a bar near zero is unused."
        yield RunFigure("kl", "KL per dimension", caption, partial(figures.kl_per_dimension, np.array(kl), active))
