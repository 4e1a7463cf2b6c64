"""Which figures a run has, what each shows, and the arrays behind them; drawn by `figures`, collected by the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from diabolo import figures
from diabolo.autoencoder.model import Autoencoder
from diabolo.datasets import Dataset, Split
from diabolo.evaluation.terms import ACTIVE
from diabolo.latent.geometry import manifold_grid
from diabolo.storage import images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "draw_all", "run_figures"]

Theme = Literal["light", "dark"]
SIDE = 15  # of the manifold: 15 x 15 codes
STEPS = np.linspace(-2.5, 2.5, 11)  # of a traversal, in standard deviations of the codes
MOST = 10_000  # points of a scatter
IN_3D = 500  # points of the 3-D scatter, the first training examples


@dataclass(frozen=True)
class Picture:
    """One figure of a run.

    Attributes:
        name: its file's name without suffix.
        title: its heading.
        caption: what it shows and how to read it.
        draw: theme -> the figure.
    """

    name: str
    title: str
    caption: str
    draw: Callable[..., Figure]


def run_figures(model: Autoencoder, dataset: Dataset, split: Split) -> Iterator[Picture]:
    """The figures that make sense for a model and its data, in the order of a report.

    Args:
        model: the trained model.
        dataset: the data to show it with.
        split: the test part is shown; the validation or the training part where there is none.
    """
    parts = {"test": split.test, "validation": split.validation, "training": split.train}
    part, shown = next((name, chosen) for name, chosen in parts.items() if len(chosen))
    few, many = shown[:10], shown[:MOST]
    codes = model.encode(dataset.x[many])
    labels = None if dataset.y is None else dataset.y[many]
    yield _reconstructions(model, dataset, few, part)
    if images.is_image(model.layout):
        yield from _decoded(model, codes)
    yield from _scatters(model, dataset, codes, labels, split.train, f"{len(many):,} {part} examples")
    yield from _numbers(model, codes.var(0) > ACTIVE)


def draw_all(
    model: Autoencoder, dataset: Dataset, split: Split, folder: Path, *, theme: Theme = "light"
) -> Iterator[Path]:
    """Draws every figure of a run into a folder, as PNG; gives the paths as they are written."""
    suffix = "" if theme == "light" else "-dark"
    for picture in run_figures(model, dataset, split):
        path = folder / f"{picture.name}{suffix}.png"
        figures.save(picture.draw(theme=theme), path)
        yield path


def _reconstructions(model: Autoencoder, dataset: Dataset, few: np.ndarray, part: str) -> Picture:
    x = np.asarray(dataset.x[few])
    shown = model.model.preprocess.displayed
    noise = hasattr(model.model.objective, "corrupt") and model.model.config()["model"]["options"].get("noise")
    if noise:
        noisy = model.corrupt(x, seed=0)
        draw = partial(
            figures.reconstructions,
            shown(x),
            shown(model.reconstruct(noisy)),
            model.layout,
            noisy=shown(noisy),
            features=dataset.features,
        )
        return Picture(
            "reconstructions", "Noise removed", f"{part.capitalize()} examples with the noise of training ({noise}), "
            "what the model makes of them, and the clean originals.", draw,
        )  # fmt: skip
    rebuilt = shown(model.reconstruct(x))
    draw = partial(figures.reconstructions, shown(x), rebuilt, model.layout, features=dataset.features)
    return Picture(
        "reconstructions", "Reconstructions", f"{part.capitalize()} examples above what the code kept of them.", draw
    )


def _decoded(model: Autoencoder, codes: np.ndarray) -> Iterator[Picture]:
    layout, shown = model.layout, model.model.preprocess.displayed
    if model.has_prior or model.prior is not None:
        origin = "the prior N(0, I)" if model.prior is None else f"the fitted prior ({model.prior})"
        draw = partial(figures.samples, shown(model.sample(100, seed=0)), layout, columns=10)
        yield Picture("samples", "Samples", f"Codes drawn from {origin}, seed 0, decoded.", draw)
    if model.latent_dim == 2 and model.has_prior:
        grid = manifold_grid(SIDE)
        ticks = np.unique(grid[:, 0])
        draw = partial(figures.manifold, shown(model.decode(grid)), layout, SIDE, ticks=ticks)
        caption = f"{SIDE} x {SIDE} codes at equal steps of probability through the inverse normal CDF, decoded."
        yield Picture("manifold", "The plane of codes", caption, draw)
    center, spread = codes.mean(0), codes.std(0)
    dims = np.argsort(-spread)[: min(8, model.latent_dim)]
    walks = np.repeat(center[None], len(dims) * len(STEPS), 0).reshape(len(dims), len(STEPS), -1)
    for row, dim in enumerate(dims):
        walks[row, :, dim] += STEPS * spread[dim]
    walked = shown(model.decode(walks.reshape(-1, model.latent_dim).astype(np.float32)))
    draw = partial(figures.traversals, walked, layout, [int(dim) for dim in dims], [round(float(v), 2) for v in STEPS])
    caption = (
        "Each row walks along one dimension of the code, from the mean code of the data, in that dimension's "
        f"standard deviations; the {len(dims)} dimensions that vary most."
    )
    yield Picture("traversals", "One dimension at a time", caption, draw)


def _scatters(
    model: Autoencoder, dataset: Dataset, codes: np.ndarray, labels: np.ndarray | None, train: np.ndarray, of: str
) -> Iterator[Picture]:
    if model.latent_dim == 3 and labels is not None and dataset.classes:
        first = train[:IN_3D] if len(train) else np.arange(min(IN_3D, len(dataset)))
        draw = partial(figures.scatter_3d, model.encode(dataset.x[first]), dataset.y[first], dataset.classes)  # type: ignore[index]
        yield Picture(
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
    yield Picture("codes", "Codes", what + (", by class." if dataset.classes else "."), draw)


def _principal(plane: np.ndarray, labels: np.ndarray | None, classes: tuple[str, ...], *, theme: Theme) -> Figure:
    """A scatter whose axes are not two dimensions of the code."""
    figure = figures.scatter(plane, labels, classes, theme=theme)
    figure.axes[0].set(xlabel="PC 1", ylabel="PC 2")
    return figure


def _numbers(model: Autoencoder, active: np.ndarray) -> Iterator[Picture]:
    lines = [line for line in model.history if line["kind"] == "epoch"]
    result = model.info.get("result", {})
    if lines:
        caption = "Each term as training went on: nats per example where nothing else is said."
        yield Picture(
            "curves", "Training", caption, partial(figures.curves, lines, best_epoch=result.get("kept_epoch"))
        )
    kl = result.get("test", {}).get("kl_per_dimension")
    if kl:
        caption = "How many nats each dimension of the code carries, on the test examples; a bar near zero is unused."
        yield Picture("kl", "KL per dimension", caption, partial(figures.kl_per_dimension, np.array(kl), active))
