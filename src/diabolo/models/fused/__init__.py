"""A `Sequential` as one step of differentiation: its layers forwards and backwards, with nothing done twice.

Autocast turns a layer into a dozen operations: casts of weights, of inputs and of gradients, copies between memory
layouts, a node of the graph for each. `FusedLayers` compute the same numbers from the same parameters in one node. They
hold images channels last throughout (so that flattening them copies nothing), and compute convolutions from or to very
few channels as matrix products, for which they have too little arithmetic to be anything else.

Nobody but `models.engine` imports this room.
"""

from __future__ import annotations

from diabolo.models.fused._fused_layers import FusedLayers
from diabolo.models.fused._layers import arranged_once
from diabolo.models.fused._products import operation

__all__ = ["FusedLayers", "arranged_once", "operation"]
