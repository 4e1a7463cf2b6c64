"""A trained model behind HTTP: for programs, `diabolo serve RUN`; for people, `diabolo explore RUN`.

atlas    what there is to see of a run: examples, codes, columns; `cache` keeps them with the run
state    what the page is told of a run; `lessons` are concepts that are learned there
guard    who may ask: a token, the right Host and Origin, bodies of a bounded size
api      what can be asked of a model: encode, decode, reconstruct, score, sample, edit; `explore_api`: of an atlas
server   the process that listens; `explore` brings it all together
page     the explorer's page
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._moved import without_names
from diabolo.explorer._atlas import Atlas, Column, open_atlas
from diabolo.explorer._explore import Exploring, explore, open_atlases, serve_explorer
from diabolo.explorer._server import Serving, serve

__all__ = [
    "Atlas",
    "Column",
    "Exploring",
    "Serving",
    "explore",
    "open_atlas",
    "open_atlases",
    "serve",
    "serve_explorer",
]

if not TYPE_CHECKING:
    __getattr__ = without_names(__name__)
