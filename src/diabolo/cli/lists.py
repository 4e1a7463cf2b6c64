"""`diabolo models`, `diabolo recipes` and `diabolo datasets`: what there is."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diabolo.cli._parser import Parser, add_data_options, data_options, emit, table, wrap
from diabolo.config import as_typed

if TYPE_CHECKING:
    from diabolo._installed import Installed

__all__ = ["datasets", "models", "recipes"]

# Groups of entry points beside those of the parts of a model: the option that takes a name, and where the registry is.
OTHER_GROUPS = {
    "diabolo.priors": ("fit-prior --kind", "diabolo.models.priors", "priors"),
    "diabolo.readers": ("--reader", "diabolo.datasets._open", "readers"),
    "diabolo.metrics": ("evaluate --metrics", "diabolo.metrics", "families"),
    "diabolo.loggers": ("train --log", "diabolo.callbacks", "loggers"),
    "diabolo.layouts": ("explore --map", "diabolo.explorer", "layouts"),
}


def models(parser: Parser, words: Sequence[str]) -> int:
    """The variants; and the networks and likelihoods, with their options; those of installed packages beneath."""
    from diabolo._installed import installed
    from diabolo.config import summary
    from diabolo.runs.config import REGISTRIES

    parser.add_argument("name", nargs="?", help="one variant, network or likelihood, with its options")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    found = parser.parse(words)
    of_packages = {kind: registry.of_packages() for kind, registry in REGISTRIES.items()}
    refused = [sentence for registry in REGISTRIES.values() for sentence in registry.refused()]
    if found.name is not None:
        holders = [(kind, registry) for kind, registry in REGISTRIES.items() if found.name in registry.names()]
        if not holders:
            from diabolo.errors import unknown_name

            raise unknown_name("model", found.name, [name for one in REGISTRIES.values() for name in one.names()])
        entries = [
            _entry(kind, found.name, registry[found.name], of_packages[kind].get(found.name))
            for kind, registry in holders
        ]
        emit(entries, found.json, "\n\n".join(_described(entry) for entry in entries))
        return 0
    entries = [_entry(kind, name, registry[name]) for kind, registry in REGISTRIES.items() for name in registry]
    entries += [
        {"kind": kind, "name": name, "path": part.path, "package": part.package}
        for kind, parts in of_packages.items()
        for name, part in parts.items()
    ]
    lines = []
    for kind, registry in REGISTRIES.items():
        lines.append(f"{kind}s (--{kind} NAME)")
        for name in registry:
            lines.append(table([(name, summary(registry[name]))], indent="  "))
            if kind == "model":
                lines += [f"      {registry[name].equation}", *wrap_source(registry[name].source)]
        for name, part in of_packages[kind].items():
            lines.append(table([(name, f"{part.path}, of the installed package {part.package}")], indent="  "))
        lines.append("")
    rows = []
    for group, (option, module, registry_name) in OTHER_GROUPS.items():
        if installed(group):
            registry = getattr(importlib.import_module(module), registry_name)
            rows += [
                (f"{option} {name}", f"{part.path}, of {part.package}") for name, part in registry.of_packages().items()
            ]
            refused += registry.refused()
    if rows:
        lines += ["other parts of installed packages", table(rows, indent="  "), ""]
    lines += [f"{sentence}\n" for sentence in refused]
    emit(entries, found.json, "\n".join(lines) + "diabolo models NAME lists the options of one.")
    return 0


def recipes(parser: Parser, words: Sequence[str]) -> int:
    """The tutorials' systems."""
    from diabolo.runs.recipes import RECIPES, find_recipe

    parser.add_argument("name", nargs="?", help="one recipe, with its settings and notes")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    found = parser.parse(words)
    chosen = list(RECIPES.values()) if found.name is None else [find_recipe(found.name)]
    facts = [
        {"name": r.name, "title": r.title, "source": r.source, "settings": dict(r.settings), "notes": list(r.notes),
         "presets": {name: dict(preset) for name, preset in r.presets.items()}}
        for r in chosen
    ]  # fmt: skip
    if found.name is None:
        text = table([(recipe.name, recipe.title) for recipe in chosen])
        text += "\n\ndiabolo recipes NAME says more; diabolo train --recipe NAME runs it."
    else:
        text = "\n".join(_recipe_lines(chosen[0]))
    emit(facts, found.json, text)
    return 0


def datasets(parser: Parser, words: Sequence[str]) -> int:
    """The known data sets, or what a source holds."""
    from diabolo.datasets import known_datasets, open_dataset
    from diabolo.datasets._readers import file_suffixes, readers

    parser.add_argument("source", nargs="?", help="a source to open and describe; header=1 in a note is --header=1")
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_data_options(parser)
    found = parser.parse(words)
    if found.source is not None:
        dataset = open_dataset(found.source, **data_options(vars(found)))
        facts: Any = {
            "name": dataset.name,
            "examples": len(dataset),
            "event_shape": dataset.event_shape,
            "layout": dataset.layout,
            "dtype": str(dataset.x.dtype),
            "classes": dataset.classes,
            "notes": dataset.notes,
            "fingerprint": dataset.fingerprint,
        }
        emit(facts, found.json, f"{dataset.describe()}\nfingerprint {dataset.fingerprint}")
        return 0
    known = known_datasets()
    rows = [
        (
            item.name,
            f"{item.train:,} + {item.test:,}" if item.test else f"{item.train:,}",
            " x ".join(map(str, item.shape)),
            f"{item.origin} ({item.licence}); "
            + (f"{item.download_bytes / 1e6:.0f} MB to download once" if item.download_bytes else "no download"),
        )
        for item in known
    ]
    text = table(rows) + f"\n\nAlso: a folder of images, of IDX files or of pieces; {', '.join(file_suffixes())}."
    text += "\n" + "\n".join(wrap(f"Readers (--reader NAME): {', '.join(readers.names())}, or module:function.", 110))
    emit([vars(item) for item in known], found.json, text)
    return 0


def _entry(kind: str, name: str, cls: Any, of_package: Installed | None = None) -> dict[str, Any]:
    from diabolo.config import parameters, summary

    entry: dict[str, Any] = {"kind": kind, "name": name, "summary": summary(cls)}
    if of_package is not None:
        entry |= {"path": of_package.path, "package": of_package.package}
    if kind == "model":
        entry |= {"equation": cls.equation, "formula": cls.formula, "source": cls.source, "when": cls.when}
    entry["options"] = [
        {"name": item.name, "type": item.type_name, "default": item.default, "help": item.doc}
        for item in parameters(cls)
    ]
    return entry


def _described(entry: dict[str, Any]) -> str:
    lines = [f"{entry['name']} ({entry['kind']}): {entry['summary']}."]
    if "package" in entry:
        lines.append(f"      {entry['path']}, of the installed package {entry['package']}")
    if "equation" in entry:
        lines += [f"      {entry['equation']}", *wrap_source(entry["source"])]
        lines += [f"      {line}" for line in wrap(entry["when"], 104)]
    rows = []
    for item in entry["options"]:
        default = item["default"]
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        rows.append((f"--{item['name'].replace('_', '-')}", item["type"] if len(item["type"]) < 40 else "",
                     item["help"] + (f" Default: {shown}." if shown not in (None, "") else "")))  # fmt: skip
    return "\n".join(lines) + ("\n" + table(rows, indent="  ") if rows else "\n  (no options)")


def wrap_source(source: str) -> list[str]:
    """A source, one work a line."""
    return ["      " + line for work in source.split("; ") for line in wrap(work, 110)]


def _recipe_lines(recipe: Any) -> list[str]:
    lines = [f"{recipe.name}: {recipe.title}", f"source: {recipe.source}", ""]
    lines.append(table([(name, as_typed(value)) for name, value in recipe.settings.items()], indent="  "))
    for note in recipe.notes:
        lines += ["", *wrap(note, 100)]
    for name, preset in recipe.presets.items():
        changed = ", ".join(f"{key}={value}" for key, value in preset.items())
        lines += ["", *wrap(f"--{name}: {recipe.reasons[name]}: {changed}", 100)]
    source = "" if "source" in recipe.settings else "FOLDER "
    return [*lines, "", f"diabolo train {source}--recipe {recipe.name}"]
