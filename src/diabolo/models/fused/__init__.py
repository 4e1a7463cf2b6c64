"""A `Sequential` as one step of differentiation: its layers forwards and backwards, with nothing done twice.

Autocast turns a layer into a dozen operations: casts of weights, of inputs and of gradients, copies between memory
layouts, a node of the graph for each. A `Stack` computes the same numbers from the same parameters in one node. It
keeps the weights in the type and order of the arithmetic until an optimizer changes them, images channels last
throughout (so that flattening them copies nothing), and computes convolutions from or to very few channels as matrix
products, for which they have too little arithmetic to be anything else.
"""

from diabolo.models.fused._layers_in_one import FusedLayers, leaves_input

__all__ = ["FusedLayers", "leaves_input"]
