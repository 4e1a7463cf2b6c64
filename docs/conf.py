"""The set-up of the documentation."""

import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

from diabolo.config import parameters, summary
from diabolo.runs.config import REGISTRIES
from diabolo.storage.files import write_text

project = "diabolo"
author = "The diabolo authors"
copyright = "2026, The diabolo authors"
release = version = version_of("diabolo")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"diabolo {release}"
html_show_sourcelink = False

HERE = Path(__file__).parent
TABLE = re.compile(r"<!-- ([\w-]+): written by (\S+) -->\n(.*?)<!-- /\1 -->", re.DOTALL)
FUNCTION = re.compile(r"\\(log|tanh|exp)\b(?!\\)")  # after which a space is set
PICTURE = "MNIST by `{}`: test images, their reconstructions, and new images (docs/zoo.py)"
CODE = re.compile(r"(``[^`]+``|:[\w:]+:`[^`]+`|`[^`]+`_*|(?<!\*)\*[a-z]+\*(?!\*))")
MARKUP = re.compile(r"(?<!^)[*|]|(?<=\w)_(?!\w)|^[*|](?! )")


def plain_text(app: Any, what: str, name: str, obj: object, options: Any, lines: list[str]) -> None:
    """Reads a docstring as the plain text that it is: `code` is code, *word* is stressed, other marks are text."""
    for i, line in enumerate(lines):
        bare = line.lstrip()
        if bare.startswith((">>>", "...")):
            continue
        pieces = CODE.split(bare)
        pieces[::2] = [MARKUP.sub(r"\\\g<0>", piece) for piece in pieces[::2]]
        pieces[1::2] = [f"`{code}`" if code[0] == "`" != code[1] and code[-1] != "_" else code for code in pieces[1::2]]
        lines[i] = line[: len(line) - len(bare)] + "".join(pieces)


def without_fields(app: Any, what: str, name: str, obj: object, skip: bool, options: Any) -> bool | None:
    """Leaves out the fields of a named tuple, which its docstring describes."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Puts `plain_text` before the extension that reads the sections of a docstring."""
    app.connect("autodoc-process-docstring", plain_text, priority=400)
    app.connect("autodoc-skip-member", without_fields)


def measured(name: str) -> list[str]:
    """The lines of the tables of results that name a variant, each table under its head."""
    found: list[str] = []
    text = (HERE / "results.md").read_text(encoding="utf-8")
    for _, program, table in TABLE.findall(text):
        head, rule, *rows = table.strip().splitlines() or ["", ""]
        own = [row for row in rows if re.search(rf"\| `{name}`[ ,:|]", row)]
        if own:
            found += [f"Measured by `{program}` ([protocol and all rows](results.md)):", "", head, rule, *own, ""]
    return found


def about(name: str, cls: Any) -> list[str]:
    """What a variant says of itself, its picture, and what was measured."""
    lines = ["```{raw} html", convert(FUNCTION.sub(r"\\\1\\,", cls.formula), display="block"), "```", "", cls.when, ""]
    lines += [f"- {work}" for work in cls.source.split("; ")]
    lines += ["", "```text", f"minimises {cls.equation}", "```", ""]
    picture = HERE / "images" / "zoo" / f"{name}.png"
    if picture.exists():
        lines += [f"![{PICTURE.format(name)}](images/zoo/{picture.name})", ""]
    return lines + measured(name)


def write_models() -> None:
    """The page of variants, networks and likelihoods, made from their signatures."""
    lines: list[str] = []
    for kind, registry in REGISTRIES.items():
        lines += [f"## {kind.capitalize()}s", ""]
        for name in registry:
            cls = registry[name]
            lines += [f"### `{name}`", "", f"{summary(cls)}.", ""]
            if kind == "model":
                lines += about(name, cls)
            for item in parameters(cls):
                lines.append(f"- `--{item.name.replace('_', '-')}` ({item.type_name}; `{item.default}`): {item.doc}")
            lines.append("")
    write_text(HERE / "_generated" / "models.md", "\n".join(lines))


write_models()
