"""Encoders and decoders for any event shape.

A network is a plan: the arguments of its constructor are its settings, and `build` returns the pair of modules.
An encoder turns (B, C, ...) into (B, features); a decoder turns (B, d) into (B, C', ...), where C' is the number of
channels that the likelihood needs.
"""

from __future__ import annotations

from diabolo.config import Registry
from diabolo.models.networks._affine_path import AffinePath, affine_path
from diabolo.models.networks._base import Network
from diabolo.models.networks._patch_path import PatchDecoder, PatchEncoder
from diabolo.models.networks._spectral import Spectral
from diabolo.models.networks.conv import Conv
from diabolo.models.networks.dense import MLP, Bottleneck, Linear, split
from diabolo.models.networks.dictionary import Dictionary
from diabolo.models.networks.resnet import ResNet

__all__ = [
    "MLP",
    "AffinePath",
    "Bottleneck",
    "Conv",
    "Dictionary",
    "Linear",
    "Network",
    "PatchDecoder",
    "PatchEncoder",
    "ResNet",
    "Spectral",
    "affine_path",
    "networks",
    "split",
]

networks: Registry[Network] = Registry("network", Network, "diabolo.networks")
networks.register("linear", Linear)
networks.register("mlp", MLP)
networks.register("conv", Conv)
networks.register("resnet", ResNet)
networks.register("bottleneck", Bottleneck)
networks.register("dictionary", Dictionary)
