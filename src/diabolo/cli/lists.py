"""`diabolo models`, `diabolo recipes` and `diabolo datasets`: what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diabolo.cli._parser import Parser, add_data_options, data_options, emit, table, wrap
from diabolo.config import as_typed

__all__ = ["datasets", "models", "recipes"]


def models(parser: Parser, words: Sequence[str]) -> int:
    """The variants; and the networks and likelihoods, with their options."""
    from diabolo.config import summary
    from diabolo.runs.config import REGISTRIES

    parser.add_argument("name", nargs="?", help="one variant, network or likelihood, with its options")
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")
    found = parser.parse(words)
    entries = [_entry(kind, name, registry[name]) for kind, registry in REGISTRIES.items() for name in registry]
    if found.name is not None:
        entries = [entry for entry in entries if entry["name"] == found.name]
        if not entries:
            from diabolo.errors import unknown_name

            raise unknown_name("model", found.name, [name for registry in REGISTRIES.values() for name in registry])
        emit(entries, found.json, "\n\n".join(_described(entry) for entry in entries))
        return 0
    lines = []
    for kind, registry in REGISTRIES.items():
        lines.append(f"{kind}s (--{kind} NAME)")
        for name in registry:
            lines.append(table([(name, summary(registry[name]))], indent="  "))
            if kind == "model":
                lines += [f"      {registry[name].equation}", *wrap_source(registry[name].source)]
        lines.append("")
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

    parser.add_argument("source", nargs="?", help="a source to open and describe")
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
    text = table(rows) + "\n\nAlso: a folder of images, a folder of IDX files, .npy, .npz, .csv, .tsv, .parquet."
    emit([vars(item) for item in known], found.json, text)
    return 0


def _entry(kind: str, name: str, cls: Any) -> dict[str, Any]:
    from diabolo.config import parameters, summary

    entry: dict[str, Any] = {"kind": kind, "name": name, "summary": summary(cls)}
    if kind == "model":
        entry |= {"equation": cls.equation, "source": cls.source}
    entry["options"] = [
        {"name": item.name, "type": item.type_name, "default": item.default, "help": item.doc}
        for item in parameters(cls)
    ]
    return entry


def _described(entry: dict[str, Any]) -> str:
    lines = [f"{entry['name']} ({entry['kind']}): {entry['summary']}."]
    if "equation" in entry:
        lines += [f"      {entry['equation']}", *wrap_source(entry["source"])]
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
