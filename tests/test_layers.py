"""What may import what, read from the source: a second net below the contract in pyproject.toml."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent.parent / "src"
PACKAGE = SOURCE / "diabolo"
FILES = sorted(PACKAGE.rglob("*.py"))
VARIANTS = sorted((PACKAGE / "models" / "objectives").glob("[!_]*.py"))
OPTIONAL = [
    "datasets",
    "fastapi",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "pyarrow",
    "ray",
    "tensorboardX",
    "torch_fidelity",
    "uvicorn",
    "zuko",
]
BANNED = {"cloudpickle", "dill", "joblib", "pickle", "shelve", "torchvision"}
MAY_IMPORT = {
    *(f"diabolo.models.objectives.{path.stem}" for path in (PACKAGE / "models" / "objectives").glob("_[!_]*.py")),
    "diabolo.models.distributions",
    "diabolo.models.networks",
    "diabolo.models.units",
    "diabolo.models.priors.own",
    "diabolo.models.priors.mixtures",
    "diabolo.errors",
    "diabolo.config",
}

# The public surface, frozen: a name that comes or goes is a line in CHANGELOG.md.
PUBLIC = [
    "Autoencoder",
    "ConceptVector",
    "Dataset",
    "DiaboloError",
    "Settings",
    "__version__",
    "compare",
    "evaluate",
    "explore",
    "load",
    "open_dataset",
    "resume",
    "split",
    "train",
]


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def short(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def literal(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def is_module(dotted: str) -> bool:
    path = SOURCE.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth, also through `importlib.import_module("...")`."""
    package = list(path.relative_to(SOURCE).parent.parts)
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if is_module(whole) else module
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from filter(None, map(literal, node.args[:1]))


def graph() -> dict[str, set[str]]:
    """File -> the files of the package that it imports, for types alone and through importlib too."""
    names = {".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
    return {short(path): {short(names[name]) for name in imports(path) if name in names} for path in FILES}


def test_no_file_is_in_a_circle() -> None:
    left = graph()
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert not left, f"these files import each other, or files that do: {sorted(left)}"


def test_nothing_imports_the_package_itself() -> None:
    """Its names come from the rooms, so that a room that asked it would be in a circle."""
    askers = [name for name, others in graph().items() if "diabolo/__init__.py" in others]
    assert askers == []


def test_only_the_engine_opens_the_door_to_fused_layers() -> None:
    askers = [name for name, others in graph().items() if any("models/fused/" in other for other in others)]
    assert {name for name in askers if "models/fused/" not in name} == {"diabolo/models/engine.py"}


def rooms() -> ModuleType:
    spec = importlib.util.spec_from_file_location("rooms", SOURCE.parent / "docs" / "rooms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_arrow_points_down() -> None:
    """The contract of import-linter, for those arrows too that it does not see: those through importlib."""
    page = rooms()
    floor = {room: number for number, row in enumerate(page.layers()) for room in row}
    for room, others in page.graph().items():
        for other in others - set(page.PRIVATE):
            assert room in page.PRIVATE or floor[room] < floor[other], f"{room} imports {other}, which is not below it"


def test_the_pages_show_the_rooms_as_they_are() -> None:
    for path, text in rooms().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is out of date: python docs/rooms.py"


def top_level(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def test_there_is_something_to_check() -> None:
    assert FILES
    assert VARIANTS


@pytest.mark.parametrize("path", VARIANTS, ids=short)
def test_a_variant_imports_no_other_variant(path: Path) -> None:
    own = {name for name in imports(path) if name.partition(".")[0] == "diabolo"}
    assert own <= MAY_IMPORT, f"{short(path)} may import {sorted(MAY_IMPORT)}, and imports {sorted(own - MAY_IMPORT)}"


@pytest.mark.parametrize("package", OPTIONAL)
def test_an_optional_package_is_imported_in_one_file(package: str) -> None:
    where = [short(path) for path in FILES if package in top_level(path)]
    assert len(where) <= 1, f"{package} is imported in {where}: let one file import it, and the others ask that file"


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_file_imports_what_is_banned(path: Path) -> None:
    found = top_level(path) & BANNED
    assert not found, f"{short(path)} imports {sorted(found)}"


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_file_loads_pickles(path: Path) -> None:
    """Neither `torch.load(...)`, by whatever name torch has, nor `from torch import load`, nor `allow_pickle=True`."""
    tree = parse(path)
    torches = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "torch"
    } | {"torch"}
    for node in ast.walk(tree):
        here = f"{short(path)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and node.attr == "load" and isinstance(node.value, ast.Name):
            assert node.value.id not in torches, f"{here} uses torch.load, which unpickles: use safetensors"
        elif isinstance(node, ast.ImportFrom) and node.module in {"torch", "torch.serialization"}:
            assert all(alias.name != "load" for alias in node.names), f"{here} imports torch.load: use safetensors"
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            assert off, f"{here} allows NumPy to unpickle"


def public_names() -> list[str]:
    """`diabolo.__all__`, without importing it."""
    path = PACKAGE / "__init__.py"
    assert path.is_file(), f"{short(path)} is not there"
    for node in parse(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = getattr(node, "value", None)
            assert isinstance(value, ast.List | ast.Tuple), f"{short(path)}: write __all__ as a plain list of strings"
            names = [literal(item) for item in value.elts]
            assert None not in names, f"{short(path)}: write __all__ as a plain list of strings"
            return [name for name in names if name is not None]
    pytest.fail(f"{short(path)} has no __all__")


def test_the_public_surface_is_frozen() -> None:
    names = public_names()
    assert len(names) == len(set(names)), f"__all__ names something twice: {names}"
    new, gone = sorted(set(names) - set(PUBLIC)), sorted(set(PUBLIC) - set(names))
    assert (new, gone) == ([], []), (
        f"diabolo.__all__ is not the frozen list: new {new}, gone {gone}. If that is meant, change PUBLIC in "
        f"tests/{Path(__file__).name} and write a line in CHANGELOG.md."
    )
