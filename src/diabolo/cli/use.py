"""The model at work: `encode`, `decode`, `reconstruct` and `sample`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diabolo import bulk
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import (
    add_out,
    add_pieces,
    counted,
    done,
    done_pieces,
    is_picture,
    load_with_source,
    numbers,
    parse_with_source,
    to_pieces,
    write_examples,
    write_pieces,
)
from diabolo.cli._parser import Parser
from diabolo.config import require
from diabolo.errors import ConfigError, ShapeError
from diabolo.runs.tables import read_codes, write_table
from diabolo.storage import images

__all__ = ["decode", "encode", "reconstruct", "sample"]


def encode(parser: Parser, words: Sequence[str]) -> int:
    """Examples to codes."""
    add_pieces(parser)
    found = parse_with_source(parser, words, "codes.npz", "where to: .npz, .csv or .parquet, or a folder of pieces")
    if to_pieces(found, "codes"):
        model = Autoencoder.load(found.run)
        result = write_pieces(found, model, bulk.Encode())
        text = f"{counted(result.rows, 'code')} of {counted(model.latent_dim, 'number')}"
        return done_pieces(found, result, text, {})
    model, dataset = load_with_source(found)
    codes = model.encode(dataset.x)
    columns = {f"z{number}": codes[:, number - 1] for number in range(1, codes.shape[1] + 1)}
    path = write_table(found.out, columns, {"codes": codes}, dataset)
    text = f"{counted(len(codes), 'code')} of {counted(codes.shape[1], 'number')}"
    return done(found, path, text, {"count": len(codes)})


def reconstruct(parser: Parser, words: Sequence[str]) -> int:
    """Examples through the code and back."""
    parser.add_argument("-n", type=int, default=10, help="how many are drawn, where the result is a picture")
    add_pieces(parser)
    found = parse_with_source(
        parser, words, "reconstructions.png", "where to: .png draws; .npz, .npy or a folder of pieces hold all"
    )
    require(found.n >= 1, "n", "a number of examples of at least 1", found.n)
    if to_pieces(found, "reconstructions"):
        model = Autoencoder.load(found.run)
        result = write_pieces(found, model, bulk.Reconstruct())
        text = f"{counted(result.rows, 'example')} of shape {model.event_shape}"
        return done_pieces(found, result, text, {})
    model, dataset = load_with_source(found)
    x = dataset.x[: found.n] if is_picture(found.out) else dataset.x
    if found.source is None and is_picture(found.out) and model.examples is not None:
        x = model.examples[: found.n]  # of the test split, rather than what it was trained on
    rebuilt = model.reconstruct(x)
    pairs = None
    if is_picture(found.out) and images.is_image(model.layout):
        pairs = images.pairs(model.pixels(x), model.pixels(rebuilt), columns=len(x))
    return write_examples(found, model, rebuilt, pairs)


def decode(parser: Parser, words: Sequence[str]) -> int:
    """Codes to examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--code", action="append", default=[], metavar="Z1,Z2,...", help="a code; may be given again")
    parser.add_argument("--codes", metavar="FILE", help="a .npz, .npy or .csv of codes, as encode writes them")
    add_out(parser, "decoded.png", "where to: .png draws, .npz and .npy hold the values")
    found = parser.parse(words)
    if bool(found.code) == bool(found.codes):
        raise ConfigError("decode needs codes: either --code Z1,Z2,... (as often as you like) or --codes FILE.")
    model = Autoencoder.load(found.run)
    codes = read_codes(found.codes) if found.codes else np.array(_typed(found.code, model.latent_dim))
    return write_examples(found, model, model.decode(codes))


def sample(parser: Parser, words: Sequence[str]) -> int:
    """New examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-n", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; the same seed gives the same examples")
    add_out(parser, "samples.png", "where to: .png draws, .npz and .npy hold the values")
    parser.add_argument(
        "--prior",
        choices=["auto", "own", "fitted"],
        default="auto",
        help="own: N(0, I); fitted: what fit-prior made; auto: the fitted one where there is one",
    )
    found = parser.parse(words)
    model = Autoencoder.load(found.run)
    return write_examples(found, model, model.sample(found.n, seed=found.seed, prior=found.prior))


def _typed(codes: list[str], latent_dim: int) -> list[list[float]]:
    rows = [numbers(code, "--code") for code in codes]
    for row, code in zip(rows, codes, strict=True):
        if len(row) != latent_dim:
            raise ShapeError(f"A code of this model has {latent_dim} numbers, and {code!r} has {len(row)}.")
    return rows
