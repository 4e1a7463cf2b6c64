"""Fused layers give what their layers give, and their gradients, whatever they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diabolo.errors import ConfigError
from diabolo.models.engine import FusedEngine
from diabolo.models.fused import FusedLayers, _products
from diabolo.models.fused._layers import Affine, Convolution
from diabolo.models.fused._thin_convolutions import ThinOutput
from diabolo.models.model import Model, build_model
from diabolo.models.networks import networks
from diabolo.models.networks._base import ACTIVATIONS
from diabolo.models.objectives._base import Loss
from diabolo.models.objectives.autoencoder import Autoencoder
from diabolo.models.preprocess import Preprocess


def gradients(call, module: nn.Module, x: Tensor, seed: int = 0) -> dict[str, Tensor]:
    """The output, the gradient of the input and those of the parameters, for a random gradient of the output."""
    for parameter in module.parameters():
        parameter.grad = None
    x = x.clone().requires_grad_()
    y = call(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    (y.float() * weights).sum().backward()
    found = {"output": y.detach().float(), "input": x.grad}
    return found | {name: parameter.grad for name, parameter in module.named_parameters()}


def assert_same(module: nn.Module, x: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """The same in float32; in bfloat16 no further from float32 than twice what autocast is."""
    expected = gradients(module, module, x)
    received = gradients(FusedLayers(module, dtype), module, x)

    def rounded(x):
        with torch.autocast("cpu", torch.bfloat16):
            return module(x)

    usual = gradients(rounded, module, x) if dtype == torch.bfloat16 else expected
    for name, value in expected.items():
        assert received[name].dtype == torch.float32
        size = value.norm().clamp(min=1e-12)
        off, allowed = (received[name] - value).norm() / size, (usual[name] - value).norm() / size
        assert off <= 2 * allowed + (0.02 if dtype == torch.bfloat16 else 2e-5), f"{name} is {off:.1e} off"


def kinds(stack: FusedLayers) -> list[type]:
    return [type(layer) for part in stack.parts for layer in getattr(part, "layers", [part])]


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fully_connected(activation, dtype):
    options = {"widths": (96, 70), "activation": activation, "start": "random"}
    encoder, decoder = networks.create("mlp", options).build((1, 9, 9), 6, 3, 1)
    assert_same(encoder, torch.rand(32, 1, 9, 9), dtype)
    assert_same(decoder, torch.randn(32, 3), dtype)


LAYERS = {"start": "random", "enlarge": "transposed"}  # alone: `Sequential`s of layers that are known
MIRRORED = {"channels": (8, 16), **LAYERS}
BOOK = {
    "channels": (8, 16, 16), "strides": (1, 2, 1), "hidden": (70,),
    "decoder_channels": (8,), "decoder_strides": (2, 1), "decoder_hidden": (), **LAYERS,
}  # fmt: skip
RECTANGLE = {"channels": (6, 7), "kernel": 5, "strides": (2, 1), **LAYERS}
REPEATED = {**MIRRORED, "enlarge": "resize"}


@pytest.mark.parametrize("options", [MIRRORED, BOOK, RECTANGLE, REPEATED])
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 11, 14), (6, 9, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_convolutional(options, shape, dtype):
    encoder, decoder = networks.create("conv", options).build(shape, 4, 2, shape[0])
    for layout in (torch.contiguous_format, torch.channels_last):
        assert_same(encoder, torch.rand(8, *shape).contiguous(memory_format=layout), dtype)
    assert_same(decoder, torch.randn(8, 2), dtype)


@pytest.mark.parametrize("activation", ["gated", "relu"])
@pytest.mark.parametrize("more", [{}, {"bias": False}, {"spectral": "both"}], ids=str)
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layers_of_published_protocols(activation, more, network, dtype):
    plans = {"mlp": {"widths": (96, 70)}, "conv": {**MIRRORED, "kernel": 4, "hidden": (70,)}}
    options = {**plans[network], "activation": activation, "start": "random", **more}
    for part, x in zip(
        networks.create(network, options).build((1, 12, 13), 6, 3, 1),
        (torch.rand(32, 1, 12, 13), torch.randn(32, 3)),
        strict=True,
    ):
        assert_same(part.eval(), x, dtype)  # in training each call would bring a spectral norm further


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 1, 3, padding=1),
        nn.Conv2d(8, 3, (1, 4), padding=(0, 2), bias=False),
        nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1),
        nn.ConvTranspose2d(8, 4, (4, 2), stride=(3, 1), padding=(2, 0), bias=False),
    ],
    ids=str,
)
def test_few_channels_are_a_product_of_matrices(layer):
    assert kinds(FusedLayers(nn.Sequential(layer), torch.float32)) == [ThinOutput]
    assert_same(nn.Sequential(layer), torch.randn(3, layer.in_channels, 9, 10))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 8, 3),
        nn.Conv2d(2, 8, (3, 5), stride=(2, 3), padding=(1, 2), bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=4),
        nn.Conv2d(8, 12, 3, padding=2, dilation=2, stride=2),
        nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1, bias=False),
        nn.Conv2d(2, 8, 3, dilation=2),
        nn.Conv2d(8, 1, 3, stride=2),
        nn.Conv2d(8, 1, 3, padding=4),
    ],
    ids=str,
)
def test_other_convolutions(layer):
    assert kinds(FusedLayers(nn.Sequential(layer), torch.float32)) == [Convolution]
    assert_same(nn.Sequential(layer), torch.randn(3, layer.in_channels, 9, 10))


@pytest.mark.parametrize("layer", [nn.Linear(300, 200), nn.Conv2d(8, 16, 3), nn.Conv2d(8, 1, 3)], ids=str)
def test_gradients_of_biases_are_summed_in_float32(layer):
    x = torch.randn(64, 300) if isinstance(layer, nn.Linear) else torch.randn(64, 8, 9, 10)
    y = FusedLayers(nn.Sequential(layer), torch.bfloat16)(x)
    gradient = torch.randn(y.shape) + 1
    rounded = gradient.to(y.dtype).float()
    y.backward(gradient.to(y.dtype))
    over = [axis for axis in range(y.dim()) if axis != 1]
    torch.testing.assert_close(layer.bias.grad, rounded.sum(over), rtol=1e-4, atol=1e-3)


def test_layers_that_are_not_known_stay_as_they_are():
    class Twice(nn.Module):
        def forward(self, x):
            return 2 * x

    norm = nn.BatchNorm1d(20)
    module = nn.Sequential(nn.Linear(5, 20), norm, nn.Sequential(nn.ReLU(), Twice(), nn.Linear(20, 3)))
    stack = FusedLayers(module, torch.float32)
    assert [part for part in stack.parts if isinstance(part, nn.Module)] == [norm, module[2][0], module[2][1]]
    assert_same(module, torch.randn(16, 5))


def test_a_layer_that_somebody_watches_is_called():
    seen = []
    module = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3))
    module[0].register_forward_hook(lambda *_: seen.append(1))
    FusedLayers(module, torch.float32)(torch.randn(2, 5))
    assert seen == [1]


def test_what_is_no_sequential_is_one_layer_under_autocast():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 64)

        def forward(self, x):
            return self.layer(x)

    assert FusedLayers(Own(), torch.bfloat16)(torch.randn(2, 64)).dtype == torch.bfloat16


def test_small_layers_are_computed_in_float32():
    stack = FusedLayers(nn.Sequential(nn.Linear(256, 128), nn.Linear(128, 20), nn.Linear(20, 20_000)), torch.bfloat16)
    (segment,) = stack.parts
    assert [layer.dtype for layer in segment.layers] == [torch.bfloat16, torch.float32, torch.bfloat16]
    assert all(type(layer) is Affine for layer in segment.layers)


def test_inputs_and_earlier_results_are_not_written_over():
    x = torch.randn(4, 6)
    before = x.clone()
    module = nn.Sequential(nn.ReLU(), nn.Linear(6, 5), nn.Sigmoid(), nn.ReLU(), nn.Tanh(), nn.Flatten())
    assert_same(module, x)
    assert torch.equal(x, before)


def test_two_passes_before_the_way_back():
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 2))
    x, other = torch.randn(4, 6), torch.randn(4, 6)

    def both(call):
        return lambda x: call(x) * call(other)

    expected, received = (
        gradients(both(module), module, x),
        gradients(both(FusedLayers(module, torch.float32)), module, x),
    )
    for name, value in expected.items():
        torch.testing.assert_close(received[name], value)


def test_weights_that_an_optimizer_changed_are_taken():
    module = nn.Sequential(nn.Linear(70, 70), nn.ReLU(), nn.Linear(70, 70))
    twin = copy.deepcopy(module)
    x, losses = torch.randn(64, 70), []
    for part, call in ((module, FusedLayers(module, torch.float32)), (twin, twin)):
        optimizer = torch.optim.Adam(part.parameters(), lr=1e-2, fused=True)
        for _ in range(5):
            loss = (call(x) - x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[0] < 0.9


def test_a_second_differentiation_is_refused():
    module = nn.Sequential(nn.Linear(3, 2))
    x = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(ConfigError, match="second_order = True"):
        torch.autograd.grad(FusedLayers(module, torch.float32)(x).sum(), x, create_graph=True)


def model_of(objective, network="mlp") -> Model:
    x = np.zeros((4, 8, 8), np.uint8)
    layers = {"start": "random"} if network == "mlp" else LAYERS
    preprocess, options = Preprocess.fit(x, "HW", np.arange(4)), {"network": layers}
    return build_model(preprocess, model=objective, network=network, latent_dim=2, options=options)


def test_weights_that_are_written_to_in_any_way_are_taken_again():
    model = model_of("autoencoder", "conv").eval()  # whose affine layers are computed in another order
    model.start_training(torch.float32, FusedEngine())
    z = torch.randn(3, 2)

    def write(way, parameter, change):
        if way == "in place":
            with torch.no_grad():
                parameter.add_(change)
        elif way == "data":
            parameter.data.add_(change)
        elif way == "data is another tensor":
            parameter.data = parameter.data + change
        else:
            parameter.detach().numpy()[...] += change.numpy()

    for way in ("in place", "data", "data is another tensor", "numpy"):
        with torch.no_grad():
            torch.testing.assert_close(model.decode(z), model.decoder(z))
        for parameter in model.decoder.parameters():
            write(way, parameter, 0.1 * torch.randn(parameter.shape))
        with torch.no_grad():
            torch.testing.assert_close(model.decode(z), model.decoder(z))


class Contractive(Autoencoder):
    """The plain autoencoder, and the gradient of its code."""

    def loss(self, batch, net):
        x = batch.x.clone().requires_grad_()
        code = net.encode(x)
        output = net.decode(code.mean)
        (slope,) = torch.autograd.grad(code.mean.sum(), x, create_graph=True)
        terms = {"reconstruction": -net.log_likelihood(output, x), "slope": slope.square().flatten(1).sum(1)}
        return Loss(terms, code, output)


def test_a_loss_that_holds_a_gradient_says_so_and_is_trained(monkeypatch):
    model = model_of(Contractive())
    model.start_training(torch.float32, FusedEngine())
    with pytest.raises(ConfigError, match="second_order = True"):
        model(torch.rand(4, 8, 8))
    monkeypatch.setattr(Contractive, "second_order", True)
    model.start_training(torch.float32, FusedEngine())
    model(torch.rand(4, 8, 8)).terms["slope"].sum().backward()
    assert model.encoder[1].weight.grad.abs().sum() > 0


def test_the_product_is_given_no_matrix_with_gaps(monkeypatch):
    """Some columns of a code, as of two levels: with strides of its own oneDNN took 8.4 ms where it takes 0.05."""
    given = []

    def kernel(x, weight, *_):
        given.extend([x, weight])
        return x @ weight.t()

    monkeypatch.setitem(_products._KERNELS, torch.float32, kernel)
    x, z = torch.randn(12, 7), torch.randn(12, 6)[:, :3]
    assert torch.equal(_products.product(x.t(), z), x.t() @ z)
    assert torch.equal(_products.affine(z, z[:5], None), z @ z[:5].t())
    assert len(given) == 4
    assert all(one.is_contiguous() or one.t().is_contiguous() for one in given)
