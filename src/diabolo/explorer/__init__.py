"""A trained model behind HTTP: for programs, `diabolo serve RUN`; for people, `diabolo explore RUN`.

atlas        the data of the map: examples, latent codes, columns; `cache` keeps them with the run
layouts      placements of latent codes in a plane, by name
run_state    the description of a run for the page; `concepts` learns and removes concept vectors
guard        access control: a token, the right Host and Origin, bodies of a bounded size
api          routes of a model: encode, decode, reconstruct, score, sample, edit; `explore_api`: routes of an atlas
server       the process that listens; `explore` assembles the parts
page         the HTML of the page; `static_page`: a page without a server
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diabolo._moved import without_names
from diabolo.explorer._atlas import Atlas, Column, open_atlas
from diabolo.explorer._explore import Exploring, explore, open_atlases, serve_explorer
from diabolo.explorer._layouts import Placement, layouts, place
from diabolo.explorer._server import Serving, serve

__all__ = [
    "Atlas",
    "Column",
    "Exploring",
    "Placement",
    "Serving",
    "explore",
    "layouts",
    "open_atlas",
    "open_atlases",
    "place",
    "serve",
    "serve_explorer",
]

if not TYPE_CHECKING:
    __getattr__ = without_names(__name__)
