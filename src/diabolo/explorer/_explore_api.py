"""The HTTP routes of the explorer's page: examples, latent codes, columns, layouts, health, concepts."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from diabolo.errors import ConfigError
from diabolo.explorer._atlas import Atlas
from diabolo.explorer._concepts import ConceptGroups, concepts_of, forget, learn
from diabolo.explorer._desk import Desk
from diabolo.explorer._http import NPY, APIRouter, HTTPException, Response, StrictInt, in_binary
from diabolo.explorer._run_state import health_of, state_of

__all__ = ["add_explore_routes"]

BINARY: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "an array, always as .npy",
        "content": {NPY: {"schema": {"type": "string", "format": "binary"}}},
    }
}


@dataclass
class Selection:
    """Examples by their numbers in the atlas.

    Attributes:
        ids: from 0; at most 1,000.
    """

    ids: list[StrictInt]


@dataclass(frozen=True)
class Groups(ConceptGroups):
    """Two groups whose members are whole numbers in JSON, too."""

    positive: list[StrictInt]
    negative: list[StrictInt]


def add_explore_routes(router: APIRouter, atlas: Atlas, desk: Desk) -> None:  # noqa: C901
    """Adds `/explore/...` to a router: one small function for each route, which FastAPI calls in a thread.

    Args:
        router: of one run.
        atlas: of the run.
        desk: where requests are computed.
    """

    @functools.cache
    def health_once() -> dict[str, Any]:
        return health_of(atlas)

    @router.get("/explore/state", summary="What the page shows")
    def state() -> dict[str, Any]:
        return state_of(atlas)

    @router.get("/explore/codes", summary="Where the examples lie in the code", responses=BINARY)
    def codes() -> Response:
        return in_binary(atlas.codes)

    @router.get("/explore/layouts", summary="The layouts of the map")
    def layouts() -> list[dict[str, Any]]:
        with desk.lock:
            placements = {name: atlas.placement(name) for name in atlas.layouts}
        return [
            {"name": name, "labels": list(placement.labels), "inverse": placement.inverse is not None}
            for name, placement in placements.items()
        ]

    @router.get("/explore/layouts/{name}", summary="The points of the map, by a layout", responses=BINARY)
    def points(name: str) -> Response:
        if name not in atlas.layouts:
            raise HTTPException(404, f"There is no layout {name[:100]!r}. Known: {', '.join(atlas.layouts)}.")
        with desk.lock:
            return in_binary(atlas.placement(name).xy)

    @router.get("/explore/columns/{name:path}", summary="What is known of the examples", responses=BINARY)
    def column(name: str) -> Response:
        try:
            return in_binary(atlas.column(name).values)
        except ConfigError as error:
            raise HTTPException(404, str(error)) from error

    @router.post("/explore/examples", summary="Some of the examples", responses=BINARY)
    def examples(selection: Selection) -> Response:
        return in_binary(atlas.examples(selection.ids))

    @router.post("/explore/names", summary="What examples are called")
    def names(selection: Selection) -> list[str]:
        return atlas.names(selection.ids)

    @router.get("/explore/health", summary="How the run fares")
    def health() -> dict[str, Any]:
        with desk.lock:
            return health_once()

    @router.get("/explore/concepts", summary="The concepts of the run")
    def concepts() -> list[dict[str, Any]]:
        with desk.lock:
            return concepts_of(atlas)

    @router.post("/explore/concepts", summary="Learn a concept from two groups of examples")
    def learned(groups: Groups) -> dict[str, Any]:
        with desk.lock:
            if groups.name in atlas.model.concepts and not groups.replace:
                raise HTTPException(
                    409, f"There is a concept {groups.name!r} already: replace it (replace=true), or take another name."
                )
            return learn(atlas, groups)

    @router.delete("/explore/concepts/{name:path}", summary="Remove a concept")
    def removed(name: str) -> dict[str, str]:
        with desk.lock:
            if name not in atlas.model.concepts:
                known = ", ".join(sorted(atlas.model.concepts)) or "none"
                raise HTTPException(404, f"There is no concept named {name[:100]!r}. Known: {known}.")
            forget(atlas, name)
        return {"removed": name}
