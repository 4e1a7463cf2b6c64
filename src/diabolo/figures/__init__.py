"""Arrays -> matplotlib figures: what goes in, what comes out, the space of codes, the numbers of a run.

Every function takes NumPy arrays and `theme="light"` or `"dark"`, and returns a `matplotlib.figure.Figure` that belongs
to no pyplot and needs no screen; `save` writes one as PNG, SVG or PDF. matplotlib is imported when the first is drawn.
"""

from __future__ import annotations

from diabolo.figures._denoising import denoised
from diabolo.figures._examples import manifold, reconstructions, samples, traversals
from diabolo.figures._heat_maps import heat_maps
from diabolo.figures._latent_plots import scatter, scatter_3d
from diabolo.figures._run_curves import curves, kl_per_dimension, unit
from diabolo.figures._save import save, svg_or_png
from diabolo.figures._strips import strip
from diabolo.figures._theme import Theme

__all__ = [
    "Theme",
    "curves",
    "denoised",
    "heat_maps",
    "kl_per_dimension",
    "manifold",
    "reconstructions",
    "samples",
    "save",
    "scatter",
    "scatter_3d",
    "strip",
    "svg_or_png",
    "traversals",
    "unit",
]
