"""The shared parts of all commands: the parser, options from signatures, output for people and for machines."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from diabolo._imported import is_path, trust
from diabolo._words import whole_number

if TYPE_CHECKING:
    from diabolo.config import Names

__all__ = [
    "Parser",
    "add_data_options",
    "add_parameters",
    "add_part_options",
    "chosen_parts",
    "data_options",
    "emit",
    "names_in_help",
    "table",
]


BOOLEANS = {"true", "false", "yes", "no", "1", "0"}


class Parser(argparse.ArgumentParser):
    """argparse, with the nearest option in its errors and with values that begin with a minus sign."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.elsewhere: dict[str, list[str]] = {}  # options of parts that are not in use: option -> the parts
        self.switches: set[str] = set()  # options that are true where nothing follows them

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments of a command; a wrong one ends the process with status 2, an error and the nearest option."""
        arguments, rest = self.parse_known_args(self._joined(words))
        for word in rest:
            if word.startswith("-") and word != "-":
                name = word.partition("=")[0]
                if name in self.elsewhere:
                    parts = self.elsewhere[name]
                    none = "which was not chosen" if len(parts) == 1 else "none of which was chosen"
                    self.error(f"{name} is an option of {' and '.join(parts)}, {none}")
                known = [option for option in self._option_string_actions if option.startswith("--")]
                near = difflib.get_close_matches(name, [*known, *self.elsewhere], n=1, cutoff=0.5)
                self.error(f"there is no option {name}." + (f" Did you mean {near[0]}?" if near else ""))
        if rest:
            self.error(f"there is one argument too many: {' '.join(rest)!r}")
        return arguments

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As argparse's, which takes `--` for no value at all where it stands behind an option."""
        for word in args or ():
            if re.fullmatch(r"(--?[\w-]*=|-\w)--", word):
                self.error(f"{word[:-2].rstrip('=')} should be followed by a value, and was given '--'")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        end = "" if message.endswith((".", "?")) else "."
        self.exit(2, f"diabolo: {message}{end} For help: {self.prog} --help\n")

    def _joined(self, words: Sequence[str]) -> list[str]:
        """`--code -0.5,1` as `--code=-0.5,1`: argparse takes a word that begins with a minus sign for an option.

        And `--spatial` as `--spatial=true`, unless a word that says yes or no follows.
        """
        joined: list[str] = []
        for place, word in enumerate(words):
            following = words[place + 1].lower() if place + 1 < len(words) else ""
            if word in self.switches and following not in BOOLEANS:
                joined.append(f"{word}=true")
            elif (
                joined and joined[-1].startswith("--") and "=" not in joined[-1] and re.match(r"-(\.?\d|inf|nan)", word)
            ):
                joined[-1] += f"={word}"
            else:
                joined.append(word)
        return joined


def add_parameters(parser: Parser, title: str, items: Iterable[Any]) -> None:
    """Adds an option for each parameter of a signature; `coerce` turns the strings into the signature's types later."""
    group = parser.add_argument_group(title)
    for item in items:
        default = ",".join(map(str, item.default)) if isinstance(item.default, tuple) else item.default
        text = item.doc.rstrip(".").replace("`", "").replace("%", "%%")
        suffix = "" if default in (None, "", ()) else f" (default: {default})"
        group.add_argument(
            "--" + item.name.replace("_", "-"),
            default=argparse.SUPPRESS,
            metavar=item.type_name.replace(" | ", "|") if len(item.type_name) < 30 else "NAME",
            help=text + (f"; one of {item.type_name}" if len(item.type_name) >= 30 else "") + suffix,
        )
        if item.type_name == "bool":
            parser.switches.add("--" + item.name.replace("_", "-"))


def add_part_options(parser: Parser, title: str, items: Mapping[str, Any], others: Mapping[str, Iterable[Any]]) -> None:
    """Adds the options of a chosen part; those of the others (title -> parameters) are refused by name."""
    if items:
        add_parameters(parser, title, items.values())
    for other, parameters in others.items():
        for item in parameters:
            if item.name not in items:
                parser.elsewhere.setdefault("--" + item.name.replace("_", "-"), []).append(other)


def chosen_parts(parser: Parser, words: Sequence[str], names: Iterable[str]) -> argparse.Namespace:
    """The values of a few options, read before the others are known."""
    peek = Parser(prog=parser.prog, add_help=False)
    for name in names:
        peek.add_argument(f"--{name}")
    return peek.parse_known_args([word for word in words if word not in ("-h", "--help")])[0]


def names_in_help(registry: Names[Any], words: Sequence[str]) -> str:
    """The names of a registry; installed packages are asked for theirs only where the help is printed."""
    return ", ".join(registry.names() if {"-h", "--help"} & set(words) else registry)


def _number_or_text(text: str) -> int | str:
    """A whole number, or the text as it is."""
    number = whole_number(text)
    return text if number is None else number


def _header(text: str) -> int | str:
    """An argument of `--header`."""
    return {"true": 1, "false": 0}.get(text.lower(), _number_or_text(text))


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `open_dataset`."""
    group = parser.add_argument_group("data")
    quiet: dict[str, Any] = {"default": argparse.SUPPRESS}
    group.add_argument("--data-dir", metavar="DIR", help="where mnist and its kin lie, else $DIABOLO_DATA_DIR", **quiet)
    group.add_argument(
        "--layout",
        metavar="AXES",
        help="what the axes of an example are: F, LC, CL, HW, HWC, CHW, DHW, CDHW, THWC, TCHW or any",
        **quiet,
    )
    group.add_argument(
        "--labels", metavar="NAME", help="the label column of a table, array of a .npz, part of a .tar", **quiet
    )
    group.add_argument(
        "--columns",
        metavar="A,B",
        help="the columns of a table that are the features; --columns=-A,-B leaves some out",
        **quiet,
    )
    group.add_argument(
        "--size",
        metavar="N|H,W",
        type=_size,
        help="resize and crop the images of a folder, or of mnist and its kin, to this",
        **quiet,
    )
    group.add_argument(
        "--examples", metavar="NAME", help="the array of a .npz, or suffix in a .tar, that holds the examples", **quiet
    )
    group.add_argument("--encoding", metavar="NAME", help="of a .csv's characters, such as cp1252 or gbk", **quiet)
    group.add_argument(
        "--separator", metavar="MARK", help="what parts a .csv's cells: a character, tab or blanks", **quiet
    )
    group.add_argument(
        "--decimal", choices=[".", ","], help="a .csv's decimal mark; the other parts thousands", **quiet
    )
    group.add_argument(
        "--header", type=_header, metavar="N", help="a .csv's rows of names and units: 0, 1 or 2 (true, false)", **quiet
    )
    group.add_argument(
        "--comments", metavar="SIGN", help="what a .csv's comments begin with, such as # or %%; none: no line", **quiet
    )
    group.add_argument(
        "--mixed",
        action="store_true",
        help="a table's missing values are filled, categories and dates become numbers; kept with the run",
        **quiet,
    )
    group.add_argument("--ground", choices=["white", "black"], help="what transparent images are laid on", **quiet)
    group.add_argument(
        "--frame", type=int, metavar="N", help="which frame of image files with several, from 0", **quiet
    )
    group.add_argument(
        "--folders", choices=["auto", "labels", "none"], help="what the folders of images are named for", **quiet
    )
    group.add_argument(
        "--white",
        type=_number_or_text,
        metavar="N",
        help="the whole number that stands for 1: auto (by the data), full, or N",
        **quiet,
    )
    colour = group.add_mutually_exclusive_group()
    colour.add_argument("--grey", dest="colour", action="store_false", help="read a folder's images as grey", **quiet)
    colour.add_argument("--colour", dest="colour", action="store_true", help="read them as RGB", **quiet)
    group.add_argument("--strict", action="store_true", help="refuse a folder that holds a broken image", **quiet)
    group.add_argument(
        "--binarize",
        choices=["none", "static", "dynamic"],
        help="draw values to be 0 or 1, their grey the probability: once, or anew each time",
        **quiet,
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="images decoded at a time; with --executor ray, processes that work",
        **quiet,
    )
    group.add_argument(
        "--memory", type=float, metavar="GB", help="larger sources stay on the disk (default: 2)", **quiet
    )
    group.add_argument(
        "--buffer",
        type=float,
        metavar="MB",
        help="of such sources, how much is mixed at a time (default: 256)",
        **quiet,
    )
    group.add_argument(
        "--reader",
        metavar="NAME",
        help="what reads the source: module:function, or a name (diabolo datasets lists them)",
        **quiet,
    )


def data_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `open_dataset` among the arguments of a command."""
    names = (
        "data_dir", "layout", "labels", "columns", "examples", "encoding", "separator", "decimal",
        "header", "comments", "mixed", "size", "colour", "ground", "frame", "folders", "white", "strict", "workers",
        "binarize", "memory", "buffer", "reader",
    )  # fmt: skip
    trust([arguments["reader"]] if is_path(arguments.get("reader")) else [])  # whoever types it wants it run
    return {name: arguments[name] for name in names if arguments.get(name) is not None}


def emit(value: Any, as_json: bool, text: str) -> None:
    """Prints a value as JSON, or a text."""
    print(json.dumps(value, indent=2, allow_nan=False, default=str) if as_json else text)


def table(rows: Sequence[Sequence[str]], indent: str = "") -> str:
    """Rows of text as aligned columns; the last column wraps at the terminal's width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    left = len(indent) + sum(widths) + 2 * len(widths)
    room = max(30, _terminal_width() - left)
    lines: list[str] = []
    for row in rows:
        cells = "  ".join(f"{cell:<{width}}" for cell, width in zip(row[:-1], widths, strict=True))
        parts = wrap(row[-1], room) or [""]
        lines.append(f"{indent}{cells}  {parts[0]}".rstrip())
        lines += [" " * left + part for part in parts[1:]]
    return "\n".join(lines)


def wrap(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` characters."""
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False)


def _terminal_width() -> int:
    try:
        return min(os.get_terminal_size(sys.stdout.fileno()).columns, 120)
    except (OSError, ValueError):
        return 100


def _size(text: str) -> int | tuple[int, int]:
    try:
        numbers = [int(part) for part in text.replace("x", ",").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise argparse.ArgumentTypeError(f"it should be N or H,W in pixels, and was given {text!r}")
    return numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1])
