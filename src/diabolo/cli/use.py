"""`encode`, `decode`, `reconstruct` and `sample`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from diabolo import bulk
from diabolo.autoencoder.model import Autoencoder
from diabolo.cli._inputs import (
    add_class,
    add_out,
    add_pieces,
    done,
    done_pieces,
    examples_to_write,
    is_picture,
    load_of_class,
    load_with_source,
    numbers,
    parse_with_source,
    to_pieces,
    write_examples,
    write_pieces,
)
from diabolo.cli._parser import Parser
from diabolo.config import require
from diabolo.diagnostics import plural
from diabolo.errors import ConfigError, ShapeError
from diabolo.runs.tables import read_codes, read_tokens, write_table
from diabolo.storage import images

__all__ = ["decode", "encode", "reconstruct", "sample"]


def encode(parser: Parser, words: Sequence[str]) -> int:
    """Writes the latent codes of examples."""
    add_pieces(parser)
    arguments = parse_with_source(parser, words, "codes.npz", "where to: .npz, .csv or .parquet, or a folder of pieces")
    if to_pieces(arguments, "codes"):
        model = Autoencoder.load(arguments.run)
        result = write_pieces(arguments, model, bulk.Encode())
        text = f"{plural(result.rows, 'code')} of {plural(model.latent_dim, 'number')}"
        return done_pieces(arguments, result, text, {})
    model, dataset = load_with_source(arguments)
    codes = model.encode(dataset, flat=True)
    columns = {f"z{number}": codes[:, number - 1] for number in range(1, codes.shape[1] + 1)}
    arrays = {"codes": codes}
    if model.model.objective.entries:
        arrays["tokens"] = model.tokens(dataset)
        flat = arrays["tokens"].reshape(len(codes), -1)
        columns |= {f"t{number}": flat[:, number - 1] for number in range(1, flat.shape[1] + 1)}
    path = write_table(arguments.out, columns, arrays, dataset)
    text = f"{plural(len(codes), 'code')} of {plural(codes.shape[1], 'number')}"
    return done(arguments, path, text, {"count": len(codes)})


def reconstruct(parser: Parser, words: Sequence[str]) -> int:
    """Writes the reconstructions of examples."""
    parser.add_argument("-n", type=int, default=10, help="how many are drawn, where the result is a picture")
    add_class(parser)
    add_pieces(parser)
    arguments = parse_with_source(
        parser,
        words,
        "reconstructions.png",
        "where to: .png draws; .npz, .npy, of tables .csv and .parquet, or a folder of pieces hold all",
    )
    require(arguments.n >= 1, "n", "a number of examples of at least 1", arguments.n)
    if to_pieces(arguments, "reconstructions"):
        model = Autoencoder.load(arguments.run)
        result = write_pieces(arguments, model, bulk.Reconstruct())
        text = f"{plural(result.rows, 'example')} of shape {model.event_shape}"
        return done_pieces(arguments, result, text, {})
    model, dataset = load_with_source(arguments)
    x, y = examples_to_write(arguments, model, dataset)
    copies = model.reconstruct(x, y)
    pairs = None
    if is_picture(arguments.out) and images.is_image(model.layout):
        pairs = images.pairs(model.pixels(x), model.pixels(copies), columns=len(x))
    return write_examples(arguments, model, copies, pairs)


def decode(parser: Parser, words: Sequence[str]) -> int:
    """Writes the examples of latent codes."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("--code", action="append", default=[], metavar="Z1,Z2,...", help="a code; may be given again")
    parser.add_argument("--codes", metavar="FILE", help="a .npz, .npy or .csv of codes, as encode writes them")
    parser.add_argument("--tokens", metavar="FILE", help="a .npz or .npy of tokens, as encode writes them beside codes")
    add_class(parser)
    add_out(parser, "decoded.png", "where to: .png draws; .npz, .npy, of tables .csv and .parquet hold the values")
    arguments = parser.parse(words)
    if sum(map(bool, (arguments.code, arguments.codes, arguments.tokens))) != 1:
        raise ConfigError(
            "decode needs codes: either --code Z1,Z2,... (as often as you like), or --codes FILE, or --tokens FILE."
        )
    model = load_of_class(arguments)
    if arguments.tokens:
        return write_examples(arguments, model, model.decode(tokens=read_tokens(arguments.tokens)))
    codes = read_codes(arguments.codes) if arguments.codes else np.array(_parse_codes(arguments.code, model.latent_dim))
    return write_examples(arguments, model, model.decode(codes))


def sample(parser: Parser, words: Sequence[str]) -> int:
    """Writes new examples."""
    parser.add_argument("run", help="the run's folder")
    parser.add_argument("-n", type=int, default=100, help="how many")
    add_class(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the draw; the same seed gives the same examples")
    add_out(parser, "samples.png", "where to: .png draws; .npz, .npy, of tables .csv and .parquet hold the values")
    parser.add_argument(
        "--prior",
        choices=["auto", "own", "fitted"],
        default="auto",
        help="own: the variant's own; fitted: what fit-prior made; auto: the fitted one where there is one",
    )
    arguments = parser.parse(words)
    model = load_of_class(arguments)
    return write_examples(arguments, model, model.sample(arguments.n, seed=arguments.seed, prior=arguments.prior))


def _parse_codes(codes: list[str], latent_dim: int) -> list[list[float]]:
    rows = [numbers(code, "--code") for code in codes]
    for row, code in zip(rows, codes, strict=True):
        if len(row) != latent_dim:
            raise ShapeError(f"A code of this model has {latent_dim} numbers, and {code!r} has {len(row)}.")
    return rows
