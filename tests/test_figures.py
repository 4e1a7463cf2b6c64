"""Figures: what stands where, what is written beside it, and that everyone can tell the colours apart."""

from __future__ import annotations

import io
import sys
import threading
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from diabolo import figures
from diabolo.errors import ConfigError, DataError, ShapeError
from diabolo.figures._theme import THEMES
from diabolo.latent.geometry import manifold_grid

RNG = np.random.default_rng(0)
DIGITS = [str(digit) for digit in range(10)]
SIGNALS = RNG.normal(size=(12, 30, 2))
TABLE = RNG.normal(size=(12, 5)) * [1, 10, 100, 1, 1]
IMAGES = RNG.integers(0, 256, (12, 13, 37), np.uint8)
HISTORY: list[dict[str, Any]] = [
    {
        "kind": "epoch",
        "epoch": epoch,
        "lr": 0.1 / epoch,
        "beta": 1.0,
        "train": {"loss": 200 / epoch, "kl": 3.0, "mse": 0.1, "bits_per_dim": 0.2},
        "validation": {"loss": 210 / epoch, "kl": None, "active_units": 4, "kl_per_dimension": [1, 2]},
    }
    for epoch in (1, 2, 3)
]


def rendered(figure: Figure) -> np.ndarray:
    canvas: Any = figure.canvas
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def inside(figure: Figure) -> np.ndarray:
    """The screen pixels of the first axes."""
    whole = rendered(figure)
    box = figure.axes[0].get_window_extent()
    left, right, bottom, top = (round(edge) for edge in (box.x0, box.x1, box.y0, box.y1))
    return whole[len(whole) - top : len(whole) - bottom, left:right]


def tick_names(figure: Figure, which: str) -> list[str]:
    return [text.get_text() for text in getattr(figure.axes[0], f"get_{which}ticklabels")()]


def legend_names(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


# Every figure, once


def every(theme: Any) -> dict[str, Figure]:
    return {
        "images": figures.reconstructions(IMAGES, IMAGES, "HW", theme=theme),
        "one": figures.reconstructions(IMAGES[:1], IMAGES[:1] / 255, "HW", theme=theme),
        "noisy": figures.reconstructions(IMAGES, IMAGES, "HW", noisy=RNG.random(IMAGES.shape), theme=theme),
        "signals": figures.reconstructions(SIGNALS, SIGNALS, "LC", n=3, noisy=SIGNALS, theme=theme),
        "table": figures.reconstructions(TABLE, TABLE + 1, "F", n=4, features=list("ab$d_"), theme=theme),
        "any": figures.reconstructions(RNG.random((3, 2, 2, 2, 5)), RNG.random((3, 2, 2, 2, 5)), "any", theme=theme),
        "samples": figures.samples(SIGNALS, "CL", columns=5, theme=theme),
        "bars": figures.samples(TABLE, "F", columns=5, theme=theme),
        "manifold": figures.manifold(IMAGES[:9], "HW", 3, ticks=[-1, 0, 1], theme=theme),
        "traversals": figures.traversals(IMAGES, "HW", [0, 5, 2], [-1, 0, 1, 2], unit="sd", theme=theme),
        "scatter": figures.scatter(TABLE[:, :2], np.arange(12) % 2, ["a", "b"], title="t", theme=theme),
        "values": figures.scatter(TABLE[:, :2], np.linspace(0, 1, 12), theme=theme),
        "bare": figures.scatter(TABLE[:, :2], theme=theme),
        "space": figures.scatter_3d(TABLE[:, :3], np.arange(12) % 3, theme=theme),
        "curves": figures.curves(HISTORY, best_epoch=2, theme=theme),
        "kl": figures.kl_per_dimension([3.0, 0.001, 2.0], theme=theme),
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_has_its_theme_and_belongs_to_no_pyplot(theme: str) -> None:
    before = dict(matplotlib.rcParams)
    for name, figure in every(theme).items():
        picture = rendered(figure)
        corner = "#" + picture[0, 0].tobytes().hex()
        assert corner == THEMES[theme].background, name
        assert len(np.unique(picture.astype(int) @ [65536, 256, 1])) > 3, name
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (border == picture[0, 0]).all(), f"{name} is cropped"
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_an_unknown_theme_is_refused_everywhere() -> None:
    with pytest.raises(ConfigError, match=r"theme named 'drak'.*Did you mean 'dark'"):
        figures.samples(IMAGES, "HW", theme="drak")  # type: ignore[arg-type]


def test_figures_can_be_drawn_in_threads() -> None:
    done: list[bytes] = []

    def draw() -> None:
        done.append(figures.svg_or_png(figures.scatter(TABLE[:, :2], np.arange(12) % 2)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4
    assert len(set(done)) == 1


# Grids of examples


def test_reconstructions_of_images_stand_below_their_originals_pixel_for_pixel() -> None:
    x = np.zeros((4, 8, 8), np.uint8)
    x[:, 0, 0] = [50, 100, 150, 200]
    figure = figures.reconstructions(x, 255 - x, "HW", n=3)
    assert tick_names(figure, "y") == ["original", "reconstruction"]
    pixels = inside(figure)[..., 0]
    high, wide = pixels.shape
    scale = wide // (3 * 8 + 2)
    assert (high, wide) == (17 * scale, 26 * scale)
    assert [pixels[0, i * 9 * scale] for i in range(3)] == [50, 100, 150]
    assert [pixels[9 * scale, i * 9 * scale] for i in range(3)] == [205, 155, 105]
    assert (pixels[:scale, :scale] == 50).all()
    assert (pixels[:scale, scale : 8 * scale] == 0).all()


def test_noisy_images_make_three_rows() -> None:
    shades = [np.full((2, 4, 4), shade, np.uint8) for shade in (10, 20, 30)]
    figure = figures.reconstructions(shades[2], shades[1], "HW", noisy=shades[0])
    assert tick_names(figure, "y") == ["noisy", "reconstruction", "clean"]
    pixels = inside(figure)[..., 0]
    assert pixels[[0, len(pixels) // 2, -1], 0].tolist() == [10, 20, 30]


def test_bytes_and_floats_stand_on_one_scale() -> None:
    figure = figures.reconstructions(np.full((2, 4, 4), 255, np.uint8), np.full((2, 4, 4), 0.2), "HW")
    pixels = inside(figure)[..., 0]
    assert pixels[[0, -1], 0].tolist() == [255, 51]


def test_signals_are_drawn_over_each_other_and_channels_in_rows() -> None:
    figure = figures.reconstructions(SIGNALS, SIGNALS * 2, "LC", n=3)
    assert len(figure.axes) == 2 * 3
    original, rebuilt = figure.axes[4].lines
    assert np.allclose(original.get_ydata(), SIGNALS[1, :, 1])
    assert np.allclose(rebuilt.get_ydata(), 2 * SIGNALS[1, :, 1])
    assert legend_names(figure) == ["original", "reconstruction"]
    flat = figures.reconstructions(SIGNALS[..., :1], SIGNALS[..., :1], "LC", n=7)
    assert sum(axes.axison for axes in flat.axes) == 7


def test_tables_show_names_and_the_worst_features() -> None:
    figure = figures.reconstructions(TABLE, TABLE, "F", n=2, features=["a", "$b$", "c", "d", "e"])
    assert tick_names(figure, "y") == ["a", "$b$", "c", "d", "e"]
    wide = RNG.random((5, 300))
    off = wide.copy()
    off[:, 7] += 9
    assert "x8" in tick_names(figures.reconstructions(wide, off, "F"), "y")
    with pytest.raises(ShapeError, match="2 feature names for 5 features"):
        figures.reconstructions(TABLE, TABLE, "F", features=["a", "b"])


def test_samples_fill_their_rows_in_order() -> None:
    x = np.arange(10, 80, 10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 5, 5), np.uint8)
    pixels = inside(figures.samples(x, "CHW", columns=3))[..., 0]
    high, wide = pixels.shape
    found = [
        [pixels[high * (2 * row + 1) // 6, wide * (2 * column + 1) // 6] for column in range(3)] for row in range(3)
    ]
    assert found == [[10, 20, 30], [40, 50, 60], [70, 255, 255]]


def test_grids_say_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="layout named 'WH'"):
        figures.samples(IMAGES, "WH")
    with pytest.raises(ConfigError, match="columns=0"):
        figures.samples(IMAGES, "HW", columns=0)
    with pytest.raises(ShapeError, match=r"\(n, H, W\).*\(13, 37\)"):
        figures.samples(IMAGES[0], "HW")
    with pytest.raises(ShapeError, match=r"reconstructions.*\(12, 13, 37\).*\(3, 13, 37\)"):
        figures.reconstructions(IMAGES, IMAGES[:3], "HW")
    with pytest.raises(ConfigError, match="given 0"):
        figures.reconstructions(IMAGES, IMAGES, "HW", n=0)
    with pytest.raises(ShapeError, match="3 dimensions at 5 values are 15 examples, and 12"):
        figures.traversals(IMAGES, "HW", [0, 1, 2], range(5))


def test_the_plane_has_z1_to_the_right_and_z2_upwards_without_gaps() -> None:
    codes = manifold_grid(4)
    z1, z2 = ((codes - codes.min()) / np.ptp(codes)).T
    x = np.stack([z1, z2, np.zeros(16)], axis=1)[:, None, None, :] * np.ones((1, 6, 9, 1))
    figure = figures.manifold(x, "HWC", 4, ticks=np.unique(codes[:, 0]))
    pixels = inside(figure)
    assert (pixels[..., 2] == 0).all(), "a gap shows the background"
    red, green = pixels[len(pixels) // 2, :, 0].astype(int), pixels[:, 0, 1].astype(int)
    assert red[0] == 0
    assert red[-1] == 255
    assert (np.diff(red) >= 0).all()
    assert green[0] == 255
    assert green[-1] == 0
    assert (np.diff(green) <= 0).all()
    assert tick_names(figure, "x") == ["−1.64", "−0.39", "0.39", "1.64"]
    assert tick_names(figure, "y") == ["1.64", "0.39", "−0.39", "−1.64"]
    axes = figure.axes[0]
    assert axes.get_xlabel() == "z1"
    assert axes.get_ylabel() == "z2"
    places = axes.get_yticks()
    assert axes.transData.transform((0, places[0]))[1] > axes.transData.transform((0, places[-1]))[1]


def test_the_plane_may_have_z2_grow_downwards() -> None:
    codes = manifold_grid(4, order="down")
    x = ((codes[:, 1] - codes.min()) / np.ptp(codes))[:, None, None] * np.ones((1, 6, 9))
    figure = figures.manifold(x, "HW", 4, ticks=np.unique(codes[:, 0]), order="down")
    grey = inside(figure)[:, 0, 0].astype(int)
    assert (grey[0], grey[-1]) == (0, 255)
    assert tick_names(figure, "y") == ["−1.64", "−0.39", "0.39", "1.64"]
    with pytest.raises(ConfigError, match="order of the rows"):
        figures.manifold(x, "HW", 4, order="left")  # type: ignore[arg-type]


def test_the_plane_says_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"n=4 by 4.*16.*12 were given"):
        figures.manifold(IMAGES, "HW", 4)
    with pytest.raises(ShapeError, match="3 code values"):
        figures.manifold(IMAGES[:9], "HW", 3, ticks=[1, 2])
    with pytest.raises(ConfigError, match="growing"):
        figures.manifold(IMAGES[:9], "HW", 3, ticks=[1, 0, -1])


def test_traversals_name_dimensions_and_values() -> None:
    figure = figures.traversals(IMAGES, "HW", [0, 11, 4], [-2.5, -1, 0, 1.25])
    assert tick_names(figure, "y") == ["z1", "z12", "z5"]
    assert tick_names(figure, "x") == ["−2.5", "−1", "0", "1.25"]


# Codes


def test_a_scatter_has_every_point_equal_scales_and_a_legend_outside() -> None:
    codes = RNG.normal(size=(500, 2)) * [3, 1]
    figure = figures.scatter(codes, np.arange(500) % 10, DIGITS, title="codes")
    axes = figure.axes[0]
    assert sum(len(np.asarray(points.get_offsets())) for points in axes.collections) == 500
    assert legend_names(figure) == DIGITS
    assert [text.get_text() for text in axes.texts] == DIGITS
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().x0 > axes.get_window_extent().x1
    assert legend.get_window_extent().x1 < figure.bbox.x1
    (ax, ay), (bx, by) = axes.transData.transform([(0, 0), (1, 1)])
    assert bx - ax == pytest.approx(by - ay)


def test_names_of_classes_in_one_place_do_not_cover_each_other() -> None:
    figure = figures.scatter(RNG.normal(size=(400, 2)), np.arange(400) % 20, [f"class {i}" for i in range(20)])
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 20
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_hundred_classes_differ_by_marker_and_color_and_names_are_literal() -> None:
    names = [f"_a ${i}$ long name of a class, number {i}" for i in range(100)]
    figure = figures.scatter(RNG.normal(size=(300, 2)), np.arange(300) % 100, names)
    shown = legend_names(figure)
    assert len(shown) == len(set(shown)) == 100
    assert all(len(name) <= 24 for name in shown)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    looks = {(str(line.get_marker()), str(line.get_color())) for line in legend.get_lines()}
    assert len(looks) == 100
    assert legend.get_window_extent().x1 < figure.bbox.x1


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0, 1, 1, -1], ["a", "b"], ["a", "b", "no label"]),
        ([0.0, 1.0, np.nan, 1.0], ["a", "b"], ["a", "b", "no label"]),
        (["u", "v", "u", "v"], [], ["u", "v"]),
        ([5, 7, 7, 7], [], ["5", "7"]),
        ([True, False, True, True], [], ["False", "True"]),
        (None, [], []),
        ([0.5, 1.5, np.nan, 2.0], [], []),
    ],
)
def test_labels_of_every_kind(labels: Any, classes: list[str], expected: list[str]) -> None:
    figure = figures.scatter(TABLE[:4, :2], labels, np.array(classes))
    assert legend_names(figure) == expected
    has_bar = labels is not None and not expected
    assert len(figure.axes) == (2 if has_bar else 1)


def test_a_scatter_says_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"have 3: choose two, dims=\(0, 1\), or project"):
        figures.scatter(TABLE[:, :3])
    assert figures.scatter(TABLE, dims=(0, 4)).axes[0].get_ylabel() == "z5"
    with pytest.raises(ConfigError, match=r"0 to 4.*\(0, 5\)"):
        figures.scatter(TABLE, dims=(0, 5))
    with pytest.raises(ShapeError, match="one label for each of the 12"):
        figures.scatter(TABLE[:, :2], [1, 2])
    with pytest.raises(DataError, match=r"0 to 1.*go up to 2"):
        figures.scatter(TABLE[:3, :2], [0, 1, 2], ["a", "b"])
    with pytest.raises(DataError, match="'w' is none of the 2"):
        figures.scatter(TABLE[:2, :2], ["u", "w"], ["u", "v"])
    with pytest.raises(DataError, match="diverge"):
        figures.scatter(np.full((2, 2), np.nan))
    codes = TABLE[:, :2].copy()
    codes[0] = np.inf
    assert "1 codes that are not finite" in figures.scatter(codes).axes[0].get_title(loc="left")


@pytest.mark.parametrize("codes", [[[1.0, 2.0]], [[3.0, 3.0]] * 9, RNG.normal(size=(9, 2)) * [1000, 1e-9]])
def test_degenerate_codes_still_have_limits(codes: Any) -> None:
    axes = figures.scatter(codes, [3] * len(codes)).axes[0]
    assert np.isfinite([*axes.get_xlim(), *axes.get_ylim()]).all()
    assert np.diff(axes.get_xlim()) > 0.1


def test_70_000_points_are_one_bitmap_in_an_svg() -> None:
    figure = figures.scatter(RNG.normal(size=(70_000, 2)), np.arange(70_000) % 10, DIGITS)
    assert len(figures.svg_or_png(figure, "svg")) < 2_000_000


def test_points_in_space_are_their_classes_as_text() -> None:
    codes, labels = RNG.normal(size=(500, 3)) * [1, 5, 9] + 2, np.arange(500) % 10
    figure = figures.scatter_3d(codes, labels, DIGITS)
    axes: Any = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == [str(label) for label in labels]
    assert len({text.get_color() for text in axes.texts}) == 10
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_zlabel()) == ("z1", "z2", "z3")
    for column, (low, high) in enumerate((axes.get_xlim(), axes.get_ylim(), axes.get_zlim())):
        assert low < codes[:, column].min() < codes[:, column].max() < high
        assert high - low < 1.3 * np.ptp(codes[:, column])


def test_more_points_in_space_are_thinned_out_and_the_title_says_so() -> None:
    axes = figures.scatter_3d(RNG.normal(size=(900, 3)), np.zeros(900, int), ["neutral"], most=90).axes[0]
    assert [text.get_text() for text in axes.texts] == ["neutral"] * 90
    assert axes.get_title() == "90 of 900 codes"
    with pytest.raises(ShapeError, match="shows 3 columns, and the codes have 2"):
        figures.scatter_3d(TABLE[:, :2], np.zeros(12, int))
    with pytest.raises(ConfigError, match="continuous"):
        figures.scatter_3d(TABLE[:, :3], np.linspace(0, 1, 12))


# Numbers of a run


def titles(figure: Figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def test_curves_have_a_panel_per_term_with_its_unit() -> None:
    figure = figures.curves(HISTORY, best_epoch=2)
    assert titles(figure) == [
        "loss, nats per example",
        "kl, nats per example",
        "mse, per value",
        "bits_per_dim, bits per dimension",
        "active_units",
        "lr",
    ]
    assert legend_names(figure) == ["train", "validation", "best epoch: 2"]
    train, validation, best = figure.axes[0].lines
    assert np.allclose(train.get_ydata(), [200, 100, 200 / 3])
    assert np.allclose(validation.get_ydata(), [210, 105, 70])
    assert list(best.get_xdata()) == [2, 2]


def test_curves_of_one_epoch_without_validation_have_a_marker() -> None:
    figure = figures.curves([{"kind": "step", "train": {"loss": 9}}, {"epoch": 1, "train": {"loss": 5.0}}], ["loss"])
    assert titles(figure) == ["loss, nats per example"]
    (line,) = figure.axes[0].lines
    assert line.get_marker() == "o"
    assert list(line.get_ydata()) == [5]
    assert legend_names(figure) == ["train"]


def test_curves_say_what_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"term in the history named 'kld'.*Did you mean 'kl'"):
        figures.curves(HISTORY, ["kld"])
    for empty in ([], [{"kind": "step", "step": 1}], [{"epoch": 1, "train": {"loss": "x"}}]):
        with pytest.raises(DataError, match="nothing to draw"):
            figures.curves(empty)


def test_kl_bars_are_sorted_and_named() -> None:
    figure = figures.kl_per_dimension([0.5, 3.0, 0.001, 1.0])
    axes = figure.axes[0]
    assert tick_names(figure, "x") == ["z2", "z4", "z1", "z3"]
    assert [bar.get_height() for bar in axes.patches] == [3.0, 1.0, 0.5, 0.001]
    assert len({bar.get_facecolor() for bar in axes.patches}) == 2
    assert axes.get_title(loc="left") == "4.50 nats in all, 3 of 4 dimensions active"
    assert legend_names(figure) == ["active", "inactive (at most 0.01 nats)"]
    told = figures.kl_per_dimension([0.5, 3.0], active=[False, True])
    assert legend_names(told) == ["active", "inactive"]
    assert [bool(bar.get_hatch()) for bar in told.axes[0].patches] == [False, True]


def test_kl_of_one_and_of_a_thousand_dimensions() -> None:
    assert tick_names(figures.kl_per_dimension([2.0]), "x") == ["z1"]
    many = figures.kl_per_dimension(RNG.random(1000))
    assert len(many.axes[0].patches) == 1000
    assert 20 < len(tick_names(many, "x")) < 60
    for wrong in ([], [[1.0]]):
        with pytest.raises(ShapeError, match=r"\(d,\)"):
            figures.kl_per_dimension(wrong)
    with pytest.raises(DataError, match="1 dimensions is not finite"):
        figures.kl_per_dimension([1, np.nan])


# Files


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf", "PNG"])
def test_the_same_figure_gives_the_same_file(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        figure = figures.scatter(TABLE[:, :2], np.arange(12) % 2, ["a", "b"])
        figures.save(figure, tmp_path / "new" / f"{name}.{suffix}")
    first, second = (tmp_path / "new" / f"{name}.{suffix}" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix.lower()]
    assert first.read_bytes().startswith(start)
    for trace in (b"atplotlib v", b"CreationDate", b"dc:date", b"tEXt"):
        assert trace not in first.read_bytes()
    assert sorted(path.name for path in first.parent.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def test_a_png_holds_what_the_canvas_shows() -> None:
    figure = figures.scatter(TABLE[:, :2], np.arange(12) % 2)
    data = figures.svg_or_png(figure)
    assert data == figures.svg_or_png(figure)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), rendered(figure))


def test_other_files_are_refused(tmp_path: Path) -> None:
    figure = figures.kl_per_dimension([1.0])
    with pytest.raises(ConfigError, match=r"\.png, \.svg or \.pdf.*a\.gif"):
        figures.save(figure, tmp_path / "a.gif")
    with pytest.raises(ConfigError, match="png or svg"):
        figures.svg_or_png(figure, "pdf")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


# Colours

# Linear RGB as seen without one kind of cone, Machado, Oliveira and Fernandes 2009, severity 1.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(color: str) -> np.ndarray:
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    scaled = np.clip(rgb, 0, 1) @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def contrast(one: str, other: str) -> float:
    dark, light = sorted(float(linear(color) @ TO_XYZ[1]) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("sight", "least"), [("normal", 25), ("protanopia", 25), ("deuteranopia", 25), ("tritanopia", 20)]
)
def test_any_two_class_colors_can_be_told_apart(theme: str, sight: str, least: float) -> None:
    colors = THEMES[theme].classes
    assert len(colors) == 10
    seen = lab(np.array([linear(color) for color in colors]) @ np.array(SIGHT[sight]).T)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(10, 1)]
    assert distances.min() >= least


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_stands_out_from_its_background(theme: str) -> None:
    look = THEMES[theme]
    assert min(contrast(color, look.background) for color in look.classes) >= 3
    assert min(contrast(color, look.background) for color in (look.text, look.muted, *look.lines)) >= 4.5
