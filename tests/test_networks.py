"""Encoders and decoders for any event shape: exact shapes, a gradient everywhere, weights shared where meant."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diabolo.errors import ConfigError, PartError, ShapeError
from diabolo.models.distributions import Bernoulli, Gaussian
from diabolo.models.model import build_model
from diabolo.models.networks import MLP, AffinePath, Bottleneck, Conv, Linear, Network, ResNet, networks, split
from diabolo.models.networks._base import sizes_after
from diabolo.models.networks._spectral import Spectral
from diabolo.models.networks.resnet import Residual
from diabolo.models.preprocess import Preprocess

SPATIAL = [(1, 8, 8), (1, 13, 37), (3, 17, 16), (1, 1, 5), (2, 1, 1), (2, 33), (1, 5), (1, 4, 5, 6)]
LARGE = [(1, 8, 8), (1, 13, 37), (3, 17, 16), (2, 33), (1, 9, 11, 8)]
EVEN: list[dict[str, Any]] = [
    {"channels": (4, 6), "kernel": 4, "hidden": (8,)},
    {"channels": (4, 6), "kernel": 4, "strides": (4, 2), "start": "random", "activation": "gated"},
    {"channels": (4,), "kernel": 2, "start": "mean"},
    {
        "channels": (4, 5),
        "kernel": 6,
        "decoder_channels": (3,),
        "decoder_strides": (2, 2),
        "spectral": "both",
        "start": "random",
    },
]
TRANSPOSED: list[dict[str, Any]] = [
    {"channels": (4, 6), "hidden": (16,)},
    {"channels": (4, 6, 5), "kernel": 5},
    {"channels": (4, 6), "strides": (3, 1)},
    {"channels": (4, 6), "strides": (1, 4), "kernel": 1},
    {"channels": (4, 6), "strides": (2, 3), "decoder_channels": (5, 3), "decoder_strides": (3, 1, 2)},
]
PLANS: list[tuple[Network, list[tuple[int, ...]]]] = [
    (Linear(), [(1,), (9,), *SPATIAL]),
    (MLP(), [(1,), (9,), *SPATIAL]),
    (MLP(widths=(5,), activation="gelu", code_activation="tanh"), [(9,), (1, 8, 8)]),
    (MLP(start="random"), [(1,), (9,), *SPATIAL]),
    (Bottleneck(widths=(12, 8), decoder_widths=(7,), activation="tanh"), [(9,), (3, 17, 16)]),
    (Conv(channels=(4, 6), hidden=(16,)), SPATIAL),
    (Conv(channels=(4, 6, 5), hidden=(), kernel=5, activation="silu", init="torch"), SPATIAL),
    (Conv(channels=(4, 6), strides=(3, 1), kernel=3, hidden=(8, 7)), SPATIAL),
    (Conv(channels=(4, 6), strides=(1, 4), kernel=1), SPATIAL),
    (Conv(channels=(4, 6), strides=(2, 3), decoder_channels=(5, 3), decoder_strides=(3, 1, 2)), SPATIAL),
    (Conv(channels=(4,), decoder_channels=(), decoder_strides=(2,), decoder_hidden=(9, 8)), SPATIAL),
    (Conv(channels=(4, 6), strides=(3, 2), start="random"), SPATIAL),
    *((Conv(**plan, enlarge="transposed", start="random"), SPATIAL) for plan in TRANSPOSED),
    (MLP(widths=(7, 5), activation="gated"), [(9,), (3, 17, 16)]),
    (MLP(widths=(7, 5), bias=False, spectral="both", start="random"), [(9,), (3, 17, 16)]),
    (Linear(bias=False, start="random"), [(9,), (3, 17, 16)]),
    (Conv(channels=(4, 6), hidden=(8,), activation="gated"), SPATIAL),
    (Conv(channels=(4, 6), hidden=(8,), bias=False, spectral="both", start="random"), SPATIAL),
    *((Conv(**plan, enlarge="transposed"), LARGE) for plan in EVEN),
    (ResNet(channels=(4, 6, 8), blocks=2), SPATIAL),
    (ResNet(channels=(4, 6), patch=4), SPATIAL),
    (ResNet(channels=(4,), start="random"), [(1, 8, 8), (1, 5)]),
]
CASES = [
    pytest.param(plan, shape, id=f"{type(plan).__name__}{number}-{shape}")
    for number, (plan, shapes) in enumerate(PLANS)
    for shape in shapes
]


def build(plan: Network, shape: tuple[int, ...], width: int = 1, wider: int = 1) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return plan.build(shape, 3 * width, 3, shape[0] * wider)


@pytest.mark.parametrize(("plan", "shape"), CASES)
def test_shapes_are_exact_and_every_parameter_learns(plan: Network, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    encoder, decoder = build(plan, shape, wider=2)
    x = torch.rand(6, *shape)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.SGD(parameters, 1e-3)
    moved = [torch.zeros(()) for _ in parameters]
    for _ in range(3):
        code = encoder(x)
        assert tuple(code.shape) == (6, 3)
        output = decoder(code)
        assert tuple(output.shape) == (6, 2 * shape[0], *shape[1:])
        optimizer.zero_grad()
        (output - torch.randn_like(output)).square().sum().div(len(x)).backward()
        for number, parameter in enumerate(parameters):
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            moved[number] = moved[number] + parameter.grad.abs().sum()
        optimizer.step()
    small = isinstance(plan, Conv) and (
        plan.kernel > 1
    )  # taps that only ever see the padding of a tiny map do not move
    still = [number for number, total in enumerate(moved) if total == 0]
    assert not still or (small and np.prod(shape[1:]) < 4), f"no gradient for {still}"


@pytest.mark.parametrize("name", list(networks))
@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 11)], ids=str)
def test_a_wider_code_widens_the_encoder_alone(name: str, shape: tuple[int, ...]) -> None:
    if name == "bottleneck":
        pytest.skip("a bottleneck passes its code straight on")
    encoder, decoder = build(networks.create(name), shape, width=2)
    assert tuple(encoder(torch.rand(2, *shape)).shape) == (2, 6)
    assert tuple(decoder(torch.rand(2, 3)).shape) == (2, *shape)


@pytest.mark.parametrize("name", ["conv", "resnet"])
@pytest.mark.parametrize("shape", [(7,), (1, 2, 3, 4, 5)], ids=str)
def test_a_table_is_no_place_for_convolutions(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=f"'{name}' needs signals or images.*Use the network 'mlp'"):
        build(networks.create(name), shape)


def test_one_example_does_not_see_another() -> None:
    for plan, shapes in PLANS:
        encoder, decoder = build(plan, shapes[0])
        x = torch.rand(4, *shapes[0])
        whole = decoder(encoder(x))
        torch.testing.assert_close(decoder(encoder(x[2:3])), whole[2:3], rtol=1e-4, atol=1e-5)


# --- conv -------------------------------------------------------------------------------------------------------------


def listing() -> Conv:
    """The network of the well-known convolutional VAE."""
    return Conv(
        channels=(32, 64, 64, 64),
        strides=(1, 2, 1, 1),
        hidden=(32,),
        decoder_channels=(32,),
        decoder_strides=(2, 1),
        decoder_hidden=(),
        enlarge="transposed",
        start="random",
    )


def test_the_convolutional_vae_has_its_listing_s_parameters() -> None:
    encoder, decoder = listing().build((1, 28, 28), 4, 2, 1)
    counts = [sum(p.numel() for p in part.parameters()) for part in (encoder, decoder)]
    convolutions = 9 * (32 + 32 * 64 + 2 * 64 * 64) + 32 + 3 * 64
    assert counts[0] == convolutions + (14 * 14 * 64 * 32 + 32) + (32 * 4 + 4)
    assert counts[1] == (2 * 14 * 14 * 64 + 14 * 14 * 64) + (9 * 64 * 32 + 32) + (9 * 32 + 1)
    assert sum(counts) == 550_629


@pytest.mark.parametrize(
    "network", [listing(), MLP(init="glorot", start="random"), Bottleneck(init="glorot")], ids=type
)
def test_glorot_is_uniform_with_zero_biases(network: Network) -> None:
    encoder, decoder = network.build((1, 28, 28), 4, 4, 1)
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan = nn.init._calculate_fan_in_and_fan_out(module.weight)
            limit = (6 / sum(fan)) ** 0.5
            assert module.weight.abs().max() <= limit
            assert module.weight.abs().max() > 0.9 * limit
            assert module.bias is not None
            assert module.bias.eq(0).all()


@pytest.mark.parametrize(
    "network",
    [Conv(init="normal", start="random"), MLP(init="normal", start="random"), Bottleneck(init="normal")],
    ids=type,
)
def test_normal_is_normal_with_zero_biases(network: Network) -> None:
    encoder, decoder = network.build((1, 28, 28), 4, 4, 1)
    for module in [*encoder.modules(), *decoder.modules()]:
        if isinstance(module, nn.Linear) and module.weight.numel() > 5000:
            assert abs(module.weight.mean().item()) < 0.05
            assert abs(module.weight.std().item() - 1) < 0.05
            assert module.weight.abs().max() > 3
            assert module.bias.eq(0).all()


@pytest.mark.parametrize("network", [MLP(start="random"), Linear(), Bottleneck()], ids=type)
def test_dense_networks_start_as_torch_starts_them(network: Network) -> None:
    torch.manual_seed(3)
    encoder, decoder = network.build((1, 8, 8), 5, 5, 1)
    torch.manual_seed(3)
    for layer in (layer for part in (encoder, decoder) for layer in part.modules() if isinstance(layer, nn.Linear)):
        fresh = nn.Linear(layer.in_features, layer.out_features)
        assert torch.equal(layer.weight, fresh.weight)
        assert torch.equal(layer.bias, fresh.bias)


def test_torch_s_own_start_has_biases() -> None:
    encoder, _ = Conv(init="torch", start="random").build((1, 8, 8), 3, 3, 1)
    assert any(p.dim() == 1 and p.ne(0).any() for p in encoder.parameters())


@pytest.mark.parametrize("init", ["torch", "glorot", "normal"])
@pytest.mark.parametrize("cls", [MLP, Conv])
def test_layers_beside_an_affine_map_start_as_they_do_alone_and_add_nothing(cls: type, init: str) -> None:
    pairs = []
    for first in ("random", "pca"):
        torch.manual_seed(3)
        pairs.append(cls(init=init, start=first).build((3, 9, 7), 6, 3, 3))
    x = (torch.rand(4, 3, 9, 7), torch.rand(4, 3))
    for alone, path, inner, outer in zip(*pairs, x, ((6,), (3, 9, 7)), strict=True):
        assert type(alone) is nn.Sequential
        assert isinstance(path, AffinePath)
        assert torch.equal(path(inner), path.affine(inner.flatten(1)).view(4, *outer))
        weights = list(zip(alone.parameters(), path.layers.parameters(), strict=True))
        assert all(torch.equal(one, other) for one, other in weights[:-2])
        assert all(other.eq(0).all() for _, other in weights[-2:])


def test_maps_are_enlarged_by_repeating_or_by_a_transposed_convolution() -> None:
    for enlarge, kinds in {
        "resize": ["Conv2d", "Upsample", "Conv2d"],
        "transposed": ["Conv2d", "ConvTranspose2d"],
    }.items():
        plan = Conv(channels=(4, 6), strides=(2, 1), hidden=(), enlarge=enlarge, start="random")
        _, decoder = plan.build((3, 10, 11), 3, 3, 3)
        found = [type(layer).__name__ for layer in decoder if not isinstance(layer, nn.ReLU)]
        assert found == ["Linear", "Unflatten", *kinds]


@pytest.mark.parametrize(
    ("shape", "channels"), [((1, 8, 8), [32, 64]), ((3, 32, 32), [32, 64]), ((3, 33, 8), [32, 64, 128])]
)
def test_channels_follow_the_size_of_the_data(shape: tuple[int, ...], channels: list[int]) -> None:
    encoder, _ = Conv().build(shape, 3, 3, 1)
    assert [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)] == channels


@pytest.mark.parametrize("enlarge", ["transposed", "resize"])
def test_the_decoder_mirrors_the_encoder(enlarge: Any) -> None:
    plan = Conv(channels=(4, 6), strides=(1, 2), kernel=5, hidden=(9, 8), enlarge=enlarge, start="random")
    encoder, decoder = plan.build((3, 10, 11), 3, 3, 3)
    down = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    up = [m for m in decoder.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels, m.kernel_size, m.stride) for m in down] == [
        (3, 4, (5, 5), (1, 1)),
        (4, 6, (5, 5), (2, 2)),
    ]
    assert [(m.in_channels, m.out_channels, m.kernel_size, m.stride) for m in up] == [
        (6, 4, (5, 5), (2, 2) if enlarge == "transposed" else (1, 1)),
        (4, 3, (5, 5), (1, 1)),
    ]
    assert [(m.in_features, m.out_features) for m in encoder.modules() if isinstance(m, nn.Linear)] == [
        (6 * 5 * 6, 9),
        (9, 8),
        (8, 3),
    ]
    assert [(m.in_features, m.out_features) for m in decoder.modules() if isinstance(m, nn.Linear)] == [
        (3, 8),
        (8, 9),
        (9, 6 * 5 * 6),
    ]
    assert not isinstance(list(decoder.modules())[-1], nn.ReLU), "the output is free"


def test_even_kernels_are_undone_exactly() -> None:
    """The network of Burgess et al. for 32 x 32: 4 x 4 convolutions of stride 2, and their mirror."""
    options: dict[str, Any] = {"channels": (32, 32, 32), "hidden": (256, 256), "enlarge": "transposed"}
    encoder, decoder = Conv(kernel=4, start="random", **options).build((1, 32, 32), 20, 10, 1)
    shapes: list[tuple[int, ...]] = []
    x = torch.zeros(2, 1, 32, 32)
    for part, given in ((encoder, x), (decoder, torch.zeros(2, 10))):
        assert isinstance(part, nn.Sequential)
        for layer in part:
            given = layer(given)
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                shapes.append(tuple(given.shape[1:]))
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
    down: list[tuple[int, ...]] = [(32, 16, 16), (32, 8, 8), (32, 4, 4), (256,), (256,), (20,)]
    up: list[tuple[int, ...]] = [(256,), (256,), (512,), (32, 8, 8), (32, 16, 16), (1, 32, 32)]
    assert shapes == down + up
    assert sizes_after((28,), (2, 2, 2), kernel=4) == [(28,), (14,), (7,), (3,)]
    assert sizes_after((28,), (2, 2, 2), kernel=3) == [(28,), (14,), (7,), (4,)]


def test_an_even_kernel_that_leaves_nothing_is_refused() -> None:
    plan = Conv(channels=(4, 4, 4), kernel=4, enlarge="transposed")
    with pytest.raises(
        ShapeError, match=r"Of maps of 8 x 5 nothing is left after 3 convolutions with strides \(2, 2, 2"
    ):
        plan.build((1, 8, 5), 3, 3, 1)


def test_gated_layers_are_two_in_one() -> None:
    """A(x) sigmoid(B(x)): Dauphin et al. 2017, of 784-300-300-40 as in the code of VampPrior."""
    encoder, decoder = MLP(widths=(30, 20), activation="gated", start="random").build((1, 8, 8), 8, 4, 1)
    assert [type(layer).__name__ for layer in encoder.children()] == ["Flatten", *["Linear", "GLU"] * 2, "Linear"]
    x = torch.rand(5, 1, 8, 8)
    first = encoder[1]  # type: ignore[index]
    value, gate = first.weight.chunk(2)
    h = (x.flatten(1) @ value.T + first.bias[:30]) * torch.sigmoid(x.flatten(1) @ gate.T + first.bias[30:])
    assert torch.allclose(h, encoder[:3](x), atol=1e-6)  # type: ignore[index]
    assert [tuple(layer.weight.shape) for layer in decoder.modules() if isinstance(layer, nn.Linear)] == [
        (40, 4),
        (60, 20),
        (64, 30),
    ]


@pytest.mark.parametrize("plan", [MLP(bias=False, start="random"), Linear(bias=False, start="random")], ids=type)
def test_without_a_bias_nothing_is_added(plan: Network) -> None:
    for part, x in zip(plan.build((1, 8, 8), 4, 4, 1), (torch.zeros(1, 1, 8, 8), torch.zeros(1, 4)), strict=True):
        assert not part(x).any()
        assert not [name for name, _ in part.named_parameters() if "bias" in name]


@pytest.mark.parametrize(
    ("cls", "options", "words"),
    [
        (MLP, {"bias": False}, "start='pca' puts the mean of the data into a bias, and with bias=False there is none"),
        (Conv, {"bias": False, "start": "mean"}, "start='mean' puts the mean of the data into a bias"),
        (Linear, {"bias": False}, "take start='random'"),
        (Conv, {"spectral": "decoder"}, "an affine map of any size beside the layers, which spectral='decoder'"),
        (MLP, {"code_activation": "gated"}, "code_activation should be relu"),
        (Bottleneck, {"activation": "gated"}, "activation should be relu"),
    ],
)
def test_layers_that_do_not_go_together(cls: type, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        cls(**options)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(7, 5), (3, 7)),
        (nn.Linear(7, 5, bias=False), (3, 7)),
        (nn.Conv1d(3, 4, 3), (2, 3, 6)),
        (nn.Conv2d(3, 4, 3, stride=2), (2, 3, 6, 7)),
        (nn.ConvTranspose2d(3, 4, 4, 2, 1), (2, 3, 6, 6)),
    ],
    ids=str,
)
def test_the_spectral_norm_is_torch_s(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    other = copy.deepcopy(layer)
    mine, x = Spectral(layer), torch.randn(shape)
    is_transposed = isinstance(other, nn.ConvTranspose2d)
    theirs: Any = nn.utils.parametrizations.spectral_norm(other, dim=int(is_transposed))
    theirs.parametrizations.weight[0]._u.copy_(mine.left)
    theirs.parametrizations.weight[0]._v.copy_(mine.right)
    for _ in range(3):
        outputs = mine(x), theirs(x)
        torch.testing.assert_close(*outputs)
        weights = (mine.layer.weight, theirs.parametrizations.weight.original)
        slopes = [torch.autograd.grad(y.square().sum(), w)[0] for y, w in zip(outputs, weights, strict=True)]
        torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)
    before = mine.left.clone()
    mine.eval()(x)
    assert torch.equal(mine.left, before), "nothing moves in evaluation"


def test_a_spectral_decoder_stretches_no_distance() -> None:
    _, decoder = MLP(widths=(40, 30), spectral="decoder", init="normal", start="random").build((1, 8, 8), 4, 4, 1)
    codes = torch.randn(200, 4)
    for _ in range(60):  # the power iteration goes on while it is trained
        decoder(codes)
    y = decoder.eval()(codes).flatten(1)
    assert (torch.pdist(y) <= 1.01 * torch.pdist(codes)).all()
    free = MLP(widths=(40, 30), init="normal", start="random").build((1, 8, 8), 4, 4, 1)[1]
    stretched = torch.pdist(free(codes).flatten(1)) > 1.01 * torch.pdist(codes)
    assert stretched.any(), "layers of N(0, 1) do, by themselves"


@pytest.mark.parametrize("init", ["he", "he-uniform"])
def test_he_keeps_the_variance_behind_relu(init: Any) -> None:
    torch.manual_seed(0)
    encoder, _ = Conv(channels=(32, 64), init=init, start="random").build((3, 16, 16), 4, 4, 3)
    for layer in (layer for layer in encoder.modules() if isinstance(layer, nn.Linear | nn.Conv2d)):
        variance = 2 / layer.weight[0].numel()
        if layer.weight.numel() > 5000:
            assert layer.weight.var().item() == pytest.approx(variance, rel=0.05)
        most = (3 * variance) ** 0.5
        assert (layer.weight.abs().max().item() <= most * 1.0001) == (init == "he-uniform")
        assert layer.bias is not None
        assert layer.bias.eq(0).all()


@pytest.mark.parametrize("strides", [(1, 1), (2, 2, 1), (3, 1)])
def test_decoder_strides_that_do_not_undo_the_encoder_s(strides: tuple[int, ...]) -> None:
    plan = Conv(channels=(4, 4), strides=(2, 1), decoder_channels=(4,) * (len(strides) - 1), decoder_strides=strides)
    with pytest.raises(ConfigError, match=r"decoder_strides should undo the encoder's strides \(2, 1\) in reverse"):
        plan.build((1, 8, 8), 3, 3, 1)


# --- resnet -----------------------------------------------------------------------------------------------------------


def test_a_residual_block_keeps_its_input_at_the_start() -> None:
    torch.manual_seed(0)
    block = Residual(2, 4, nn.SiLU)
    x = torch.rand(3, 4, 5, 7)
    bias = [m for m in block.modules() if isinstance(m, nn.Conv2d)][-1].bias
    assert bias is not None
    torch.testing.assert_close(block(x), x + bias.reshape(1, 4, 1, 1))


def test_resnet_halves_at_each_further_scale() -> None:
    encoder, decoder = ResNet(channels=(3, 5, 7), blocks=2, patch=1).build((1, 16, 37), 4, 4, 1)
    seen: list[tuple[int, ...]] = []
    for part, x in ((encoder, torch.rand(2, 1, 16, 37)), (decoder, torch.rand(2, 4))):
        blocks = [m for m in part.modules() if isinstance(m, Residual)]
        for block in blocks:
            block.register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape[1:])))
        seen.clear()
        part(x)
        down = [(3, 16, 40)] * 2 + [(5, 8, 20)] * 2 + [(7, 4, 10)] * 2
        up = [(7, 4, 10)] * 2 + [(5, 8, 20)] * 2 + [(3, 16, 40)] * 2
        assert seen == down + up
    (code,) = [m for m in decoder.modules() if isinstance(m, nn.Linear) and m is not decoder.affine]
    assert code.out_features == 7 * 4 * 10


@pytest.mark.parametrize(("shape", "scales"), [((1, 13, 37), 2), ((1, 3, 9), 1), ((1, 16, 16), 3), ((1, 5), 1)])
def test_resnet_leaves_out_scales_that_would_be_smaller_than_4(shape: tuple[int, ...], scales: int) -> None:
    encoder, _ = ResNet(channels=(3, 5, 7), patch=1).build(shape, 4, 4, 1)
    assert {m.body[1].in_channels for m in encoder.modules() if isinstance(m, Residual)} == {3, 5, 7}.difference(
        (3, 5, 7)[scales:]
    )


def test_resnet_starts_as_its_affine_maps() -> None:
    torch.manual_seed(0)
    encoder, decoder = ResNet(channels=(3, 5)).build((2, 13, 9), 4, 4, 2)
    x, z = torch.rand(5, 2, 13, 9), torch.rand(5, 4)
    assert torch.equal(encoder(x), encoder.affine(x.flatten(1)))
    assert torch.equal(decoder(z), decoder.affine(z).view(5, 2, 13, 9))


# --- mlp, bottleneck, split -------------------------------------------------------------------------------------------


def test_linear_is_one_affine_layer_each_way() -> None:
    encoder, decoder = Linear().build((3, 4), 2, 2, 3)
    assert [type(m).__name__ for m in encoder] == ["Flatten", "Linear"]
    assert [type(m).__name__ for m in decoder] == ["Linear", "Unflatten"]


def test_mlp_widths_and_activations() -> None:
    plan = MLP(widths=(9, 7), activation="tanh", code_activation="relu")  # which takes no affine map beside it
    encoder, decoder = plan.build((2, 5), 3, 3, 2)
    assert [(m.in_features, m.out_features) for m in encoder if isinstance(m, nn.Linear)] == [(10, 9), (9, 7), (7, 3)]
    assert [(m.in_features, m.out_features) for m in decoder if isinstance(m, nn.Linear)] == [(3, 7), (7, 9), (9, 10)]
    kinds = [type(m).__name__ for m in encoder]
    assert kinds == ["Flatten", "Linear", "Tanh", "Linear", "Tanh", "Linear", "ReLU"]
    assert [type(m).__name__ for m in decoder] == ["Linear", "Tanh", "Linear", "Tanh", "Linear", "Unflatten"]


def test_codes_that_are_distributions_stay_free() -> None:
    with pytest.raises(ConfigError, match="code_activation='relu' is for codes that are points"):
        MLP(code_activation="relu").build((5,), 6, 3, 5)
    with pytest.raises(ConfigError, match=r"'bottleneck' passes its code straight on.*'mlp'"):
        Bottleneck().build((5,), 6, 3, 5)


def test_bottleneck_is_one_sequential_cut_behind_its_activation() -> None:
    encoder, decoder = Bottleneck(widths=(256,)).build((1, 28, 28), 128, 128, 1)
    assert [name for name, _ in encoder.named_children()] == ["flatten", "hidden", "bottleneck"]
    assert [name for name, _ in decoder.named_children()] == ["output", "unflatten"]
    code = encoder(torch.rand(5, 1, 28, 28))
    assert code.min() >= 0, "the code went through its activation"
    assert sum(p.numel() for part in (encoder, decoder) for p in part.parameters()) == 334_992


def sequential() -> nn.Sequential:
    whole = nn.Sequential()
    whole.add_module("flatten", nn.Flatten())
    whole.add_module("down", nn.Linear(16, 8))
    whole.add_module("bottleneck", nn.Sequential(nn.Linear(8, 2), nn.Tanh()))
    whole.add_module("up", nn.Linear(2, 16))
    whole.add_module("shape", nn.Unflatten(1, (1, 4, 4)))
    return whole


def test_split_cuts_behind_the_named_layer() -> None:
    torch.manual_seed(0)
    whole = sequential()
    encoder, decoder = split(whole, "bottleneck")
    x = torch.rand(3, 1, 4, 4)
    assert tuple(encoder(x).shape) == (3, 2)
    assert torch.equal(decoder(encoder(x)), whole(x))


def test_training_the_halves_trains_the_whole() -> None:
    torch.manual_seed(0)
    whole = sequential()
    x = torch.rand(3, 1, 4, 4)
    before = whole(x).detach()
    encoder, decoder = split(whole, "bottleneck")
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], 0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (decoder(encoder(x)) - x).square().sum().backward()
        optimizer.step()
    assert not torch.allclose(whole(x), before)
    assert torch.equal(whole(x), decoder(encoder(x)))
    with torch.no_grad():
        whole.get_submodule("up").weight.zero_()
    assert torch.equal(whole(x), decoder(encoder(x)))


def test_split_says_which_layers_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no layer named 'botleneck'.*flatten, down, bottleneck, up, shape"):
        split(sequential(), "botleneck")
    with pytest.raises(ConfigError, match="'shape' is the last one"):
        split(sequential(), "shape")


# --- a user's own modules ---------------------------------------------------------------------------------------------


def own(features: int = 2, out: int = 16) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return (
        nn.Sequential(nn.Flatten(), nn.Linear(16, features)),
        nn.Sequential(nn.Linear(2, out), nn.Unflatten(1, (1, out // 4, 4))),
    )


SQUARE = Preprocess(event_shape=(4, 4), layout="HW", scale="bytes")


def test_the_code_is_read_off_a_user_s_encoder() -> None:
    assert build_model(SQUARE, network=own()).latent_dim == 2
    assert build_model(SQUARE, network=own(4), model="vae").latent_dim == 2


@pytest.mark.parametrize(
    ("pair", "options", "words"),
    [
        (own(3), {"model": "vae"}, "should give 2 x latent_dim numbers for each example, and gives 3"),
        (own(2), {"latent_dim": 5}, "should give 5 numbers for each example, and gives 2"),
        (own(2, 20), {}, r"The decoder should give \(2, 1, 4, 4\) for two examples, and gives \(2, 1, 5, 4\)"),
        (own(4), {}, "The decoder, Sequential, fails in evaluation on a batch"),
        (
            (nn.Linear(9, 2), own()[1]),
            {},
            r"The encoder, Linear, fails in evaluation on a batch of shape \(2, 1, 4, 4\)",
        ),
        ((nn.Identity(), own()[1]), {}, r"should give \(n, features\), and gave \(2, 1, 4, 4\)"),
    ],
)
def test_modules_that_do_not_fit_are_refused_before_training(pair: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises((PartError, ShapeError), match=words):
        build_model(SQUARE, network=pair, **options)


def test_a_sigmoid_is_no_second_one_where_the_likelihood_takes_probabilities() -> None:
    encoder, decoder = own()
    ended = nn.Sequential(decoder, nn.Sigmoid())
    for options, kind in (({"likelihood": {"inputs": "probabilities"}}, Bernoulli), ({}, Gaussian)):
        made = build_model(SQUARE, network=(encoder, ended), options=options)
        assert type(made.likelihood) is kind
        output = made.decode(torch.randn(2, 2))
        assert torch.equal(made.likelihood.mean(output), output)


def test_trying_a_user_s_modules_leaves_them_as_they_were() -> None:
    """The blank batch must not count in the statistics of a batch normalisation."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    decoder = own()[1]
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    build_model(SQUARE, network=(encoder, decoder))
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_building_a_model_leaves_torch_s_random_state_alone_and_follows_the_seed() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = build_model(SQUARE, seed=1)
    assert torch.equal(torch.rand(3), expected)
    same, other = build_model(SQUARE, seed=1), build_model(SQUARE, seed=2)
    weights = [next(model.parameters()) for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_latent_dim_is_at_least_1() -> None:
    with pytest.raises(ConfigError, match="latent_dim should be a number of dimensions of at least 1, and was given 0"):
        build_model(SQUARE, latent_dim=0)
