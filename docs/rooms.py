"""The rooms of the package and the arrows between them, read from the source: for the page "Architecture".

    python docs/rooms.py      writes the table, here and in CONTRIBUTING.md, and the picture, docs/images/rooms.svg

A room is a module or package directly in `diabolo`. An arrow says that a file of one imports something of another, at
whatever depth, for types alone, or through `importlib`. The layers are those of the contract in pyproject.toml.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "diabolo"
BEGIN, END = "<!-- rooms: written by docs/rooms.py -->", "<!-- /rooms -->"
WIDTH, BOX, HEIGHT, GAP, MARGIN = 900, 118, 34, 40, 30
PRIVATE = ("_lazy", "_moved", "_version", "__main__")  # small change, on no floor of the picture


def files() -> Iterator[Path]:
    """Every file of the package."""
    yield from sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def is_module(dotted: str) -> bool:
    """Whether a dotted name is a file or a folder of the package."""
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def arrows(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if is_module(name) else node.module for name in whole]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names = [item.value for item in node.args[:1] if isinstance(item, ast.Constant)]
        yield from (name for name in names if name.partition(".")[0] == "diabolo")


def room_of(module: str) -> str:
    """The room of a module; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def graph() -> dict[str, set[str]]:
    """Room -> the rooms that it imports."""
    rooms: dict[str, set[str]] = {}
    for path in files():
        room = room_of(module_of(path))
        if room:
            rooms.setdefault(room, set()).update(room_of(name) for name in arrows(path))
    return {room: others - {room, ""} for room, others in rooms.items()}


def layers() -> list[list[str]]:
    """The rooms of each layer, from top to bottom, as the contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rows = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rooms = [[name.strip(" ()") for name in row.split("|")] for row in rows]
    return [row for row in ([name for name in row if name not in PRIVATE] for row in rooms) if row]


def reduced(rooms: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that do not follow from others (the transitive reduction of a graph without circles)."""

    def below(room: str) -> set[str]:
        return rooms[room].union(*(below(other) for other in rooms[room])) if rooms[room] else set()

    return {
        room: {one for one in others if all(one not in below(two) for two in others)} for room, others in rooms.items()
    }


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    path = PACKAGE / room / "__init__.py"
    text = ast.get_docstring(ast.parse((path if path.exists() else PACKAGE / f"{room}.py").read_text())) or ""
    sentence = " ".join(text.split("\n\n")[0].split())
    return sentence.rstrip(".")


def table() -> str:
    """The rooms from top to bottom, a row for each layer's rooms."""
    lines = ["| room | what is in it |", "| --- | --- |"]
    for row in layers():
        lines += [f"| `{room}{'/' if (PACKAGE / room).is_dir() else '.py'}` | {purpose(room)} |" for room in row]
    return "\n".join(lines)


def picture() -> str:
    """The rooms in their layers and the arrows that do not follow from others, as SVG."""
    rooms = {
        room: {one for one in others if one not in PRIVATE} for room, others in graph().items() if room not in PRIVATE
    }
    rows = layers()
    place: dict[str, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        step = (WIDTH - 2 * MARGIN) / len(row)
        for index, room in enumerate(row):
            aside = 75 * (-1) ** number if len(row) < 3 else 0  # so that no arrow passes behind a room
            place[room] = (MARGIN + step * (index + 0.5) + aside, MARGIN + number * (HEIGHT + GAP) + HEIGHT / 2)
    height = 2 * MARGIN + len(rows) * (HEIGHT + GAP) - GAP
    lines = []
    for room, others in sorted(reduced(rooms).items()):
        for other in sorted(others):
            (x, y), (u, v) = place[room], place[other]
            y, v = y + HEIGHT / 2, v - HEIGHT / 2
            bend = (v - y) / 2
            lines.append(
                f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {u:.0f} {v - bend:.0f} {u:.0f} {v - 4:.0f}"/>'
            )
    boxes = [
        f'<rect x="{x - BOX / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{BOX}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{x:.0f}" y="{y + 5:.0f}">{room}</text>'
        for room, (x, y) in place.items()
    ]
    style = (
        "rect{fill:#eef3fb;stroke:#5b7db1}text{font:14px sans-serif;text-anchor:middle;fill:#1b2a41}"
        "path{fill:none;stroke:#8aa2c8;stroke-width:1.4;marker-end:url(#tip)}"
    )
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
            "<title>The rooms of diabolo: each imports only rooms below it</title>",
            f'<style>{style}</style><rect width="{WIDTH}" height="{height}" style="fill:#fff;stroke:none"/>',
            f'<defs>{tip}<path d="M0 0L8 4L0 8z" style="fill:#8aa2c8;stroke:none;marker-end:none"/></marker></defs>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def count() -> str:
    """How many rooms, floors and arrows there are."""
    rooms = {room: others - set(PRIVATE) for room, others in graph().items() if room not in PRIVATE}
    total = sum(map(len, rooms.values()))
    return f"{len(rooms)} rooms on {len(layers())} floors, {total} arrows between them, all downwards."


def written(text: str) -> str:
    """A page with its table as the source has it now."""
    body = f"{count()}\n\n{table()}"
    return re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n\n{body}\n\n{END}", text, flags=re.DOTALL
    )


def pages() -> dict[Path, str]:
    """Path -> what it should hold."""
    paths = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"]
    texts = {path: written(path.read_text(encoding="utf-8")) for path in paths}
    return {**texts, ROOT / "docs" / "images" / "rooms.svg": picture()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
