"""Models of pythae, opened here: its default networks, by their numbers alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from diabolo.autoencoder.model import Autoencoder
from diabolo.errors import ConfigError, SourceNotFound
from diabolo.models.model import Model, build_model
from diabolo.models.preprocess import Preprocess
from diabolo.models.rebuilding import ALLOWANCE, Allocating
from diabolo.storage.files import read_json
from diabolo.storage.foreign import reading
from diabolo.storage.torch_archive import read_tensors

__all__ = ["import_pythae"]

WIDTH = 512  # of the hidden layer of its default networks
LAYOUTS = {1: "F", 2: "CL", 3: "CHW"}
Settings = Mapping[str, Any]


class Counterpart(NamedTuple):
    """What a model of pythae is here.

    Attributes:
        name: of the variant.
        options: of the variant, from the settings of the model.
        variance: of the Gaussian that its squared error is the logarithm of.
        notes: what differs, in sentences.
    """

    name: str
    options: Callable[[Settings], dict[str, Any]]
    variance: float = 1.0
    notes: tuple[str, ...] = ()


SWAPPED = "pythae averages the weights over number_gradient_estimates, and the bounds over number_samples"
CRITIC = "Its critic is another network, and starts anew where training goes on"
COUNTERPARTS = {
    "AE": Counterpart("autoencoder", lambda s: {}, 0.5),
    "VAE": Counterpart("vae", lambda s: {}),
    "BetaVAE": Counterpart("vae", lambda s: {"beta": s["beta"]}),
    "DisentangledBetaVAE": Counterpart(
        "capacity",
        lambda s: {"gamma": s["beta"], "capacity": s["C"], "warmup": s["warmup_epoch"]},
        notes=("pythae takes the distance from C of each example's KL; here it is that of their average",),
    ),
    "BetaTCVAE": Counterpart(
        "tc",
        lambda s: {k: s[k] for k in ("alpha", "beta", "gamma")} | {"estimate": "mss" if s["use_mss"] else "mws"},
        notes=("pythae's stratified weights are not on the diagonal: its loss is another one",),
    ),
    "FactorVAE": Counterpart("factor", lambda s: {"gamma": s["gamma"], "critic_widths": (1000,) * 5}),
    "IWAE": Counterpart("iwae", lambda s: {"draws": s["number_samples"]}),
    "MIWAE": Counterpart(
        "iwae", lambda s: {"draws": s["number_gradient_estimates"], "repeats": s["number_samples"]}, notes=(SWAPPED,)
    ),
    "PIWAE": Counterpart(
        "iwae",
        lambda s: {"draws": s["number_gradient_estimates"], "repeats": s["number_samples"], "estimator": "piwae"},
        notes=(SWAPPED,),
    ),
    "CIWAE": Counterpart(
        "iwae", lambda s: {"draws": s["number_samples"], "estimator": "ciwae", "share": s["beta"]}
    ),
    "INFOVAE_MMD": Counterpart(
        "infovae",
        lambda s: {"alpha": s["alpha"], "strength": max(s["lbd"], 1 - s["alpha"])},
        notes=("alpha + lbd - 1, the weight of the distance, is below 0 at pythae's defaults; here it is at least 0",),
    ),
    "WAE_MMD": Counterpart("wae", lambda s: {"weight": s["reg_weight"] / s["reconstruction_loss_scale"]}, 0.5),
    "Adversarial_AE": Counterpart(
        "aae",
        lambda s: {"weight": s["adversarial_loss_scale"] / s["reconstruction_loss_scale"]},
        notes=(CRITIC, "Its codes are the means: the noise that pythae adds is left out"),
    ),
    "RAE_L2": Counterpart("rae", lambda s: {"beta": s["embedding_weight"], "weight": s["reg_weight"]}, 0.5),
    "RAE_GP": Counterpart(
        "rae",
        lambda s: {"beta": s["embedding_weight"], "weight": s["reg_weight"], "penalty": "gp"},
        0.5,
        ("pythae's gradient is of the summed output by x, through the encoder; here it is the decoder's Jacobian",),
    ),
    "VAMP": Counterpart(
        "vamp",
        lambda s: {
            "components": s["number_components"], "warmup": s["linear_scheduling_steps"], "log_variance": None,
        },
    ),
    "VQVAE": Counterpart(
        "vq",
        lambda s: {
            "codes": s["num_embeddings"], "positions": s["latent_dim"], "decay": s["decay"] if s["use_ema"] else 0.0,
            "commitment": s["commitment_loss_factor"] / s["latent_dim"],
        },
        0.5,
        ("pythae averages the commitment over all numbers of a batch; the weight is that of their sum",),
    ),
}  # fmt: skip


def import_pythae(folder: str | os.PathLike[str]) -> Autoencoder:
    """A model that `pythae` saved (its `final_model`), with its default networks; nothing is unpickled.

    What differs is in `info["notes"]`. Means, reconstructions and samples of N(0, I) are those that pythae computes.

    Args:
        folder: with `model_config.json` and `model.pt`.

    Raises:
        SourceNotFound: there is no such folder, or the files are not in it.
        ConfigError: its networks are somebody's own, which are pickled, or it has no counterpart here.
        RunError: the files cannot be read, or do not belong together.

    >>> import_pythae("nowhere")
    Traceback (most recent call last):
    diabolo.errors.SourceNotFound: nowhere has no model_config.json. ...
    """
    where = Path(folder)
    for name in ("model_config.json", "model.pt"):
        if not (where / name).is_file():
            raise SourceNotFound(f"{where} has no {name}. Name the folder that pythae's model.save wrote, final_model.")
    with reading(where / "model_config.json", form="a configuration of pythae"):
        settings = read_json(where / "model_config.json")
        name = str(settings["name"]).removesuffix("Config").removesuffix("_")
        shape = tuple(int(length) for length in settings["input_dim"])
    if name not in COUNTERPARTS:
        raise ConfigError(f"{name} has no counterpart here. These have one: {', '.join(COUNTERPARTS)}.")
    own = [part for part in ("encoder", "decoder") if not settings.get(f"uses_default_{part}", True)]
    if own:
        raise ConfigError(
            f"The {' and the '.join(own)} of {where}, of one's own making, {'is' if len(own) == 1 else 'are'} pickled, "
            "and pickles are never loaded. Build the modules in Python, fill them from model.pt, "
            "and hand them to diabolo.Autoencoder.from_modules."
        )
    counterpart = COUNTERPARTS[name]
    tensors = {
        key.removeprefix("model_state_dict."): torch.from_numpy(value)
        for key, value in read_tensors(where / "model.pt").items()
    }
    with reading(where / "model.pt", form="what its configuration says"):
        with Allocating(ALLOWANCE + 8 * sum(tensor.numel() for tensor in tensors.values())):
            model = _built(counterpart, settings, shape)
        _filled(model, tensors)
    return Autoencoder(model.eval(), {"imported": f"pythae's {name}", "notes": list(counterpart.notes)})


def _built(counterpart: Counterpart, settings: Settings, shape: tuple[int, ...]) -> Model:
    preprocess = Preprocess(event_shape=shape, layout=LAYOUTS.get(len(shape), "any"), scale="unit")
    is_binary = settings.get("reconstruction_loss") == "bce"
    options = {
        "model": counterpart.options(settings),
        "network": {"widths": (WIDTH,), "start": "random"},
        "likelihood": {} if is_binary else {"variance": counterpart.variance, "output": "sigmoid"},
    }
    return build_model(
        preprocess, model=counterpart.name, network="mlp", likelihood="bernoulli" if is_binary else "gaussian",
        latent_dim=int(settings["latent_dim"]), options=options,
    )  # fmt: skip


@torch.no_grad()
def _filled(model: Model, tensors: Mapping[str, Tensor]) -> None:
    """Copies the layers, whose names are those of pythae's default networks."""
    heads = ["encoder.embedding"] + ["encoder.log_var"] * (model.objective.features(1) == 2)
    rows = [[["encoder.layers.0.0"], heads], [["decoder.layers.0.0"], ["decoder.layers.1.0"]]]
    for module, layers in zip((model.encoder, model.decoder), rows, strict=True):
        own = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
        for layer, names in zip(own, layers, strict=True):
            for kind in ("weight", "bias"):
                getattr(layer, kind).copy_(torch.cat([tensors[f"{name}.{kind}"] for name in names]))
    objective = cast(Any, model.objective)
    if "pseudo_inputs.0.weight" in tensors:
        inputs = tensors["pseudo_inputs.0.weight"].T + tensors["pseudo_inputs.0.bias"]
        objective.inputs.copy_(inputs.view(objective.inputs.shape))
        objective.get_buffer("range").copy_(torch.tensor([0.0, 1.0]))
    if "discriminator.layers.10.weight" in tensors:  # of two outputs, whose difference is the logarithm of the odds
        critic = [layer for layer in objective.critic.modules() if isinstance(layer, nn.Linear)]
        for number, layer in enumerate(critic):
            for kind in ("weight", "bias"):
                value = tensors[f"discriminator.layers.{2 * number}.{kind}"]
                getattr(layer, kind).copy_(value[:1] - value[1:] if layer is critic[-1] else value)
    book = tensors.get("quantizer.embeddings.weight", tensors.get("quantizer.embeddings"))
    if book is not None:
        objective.codebooks.books.copy_(book[None])
