"""The model that is trained: a preprocessing, an encoder, an objective, a decoder and a likelihood in one module."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from diabolo._imported import is_path
from diabolo.config import Registry, configuration, parameters, require
from diabolo.errors import ConfigError, DiaboloError, PartError, RunError, ShapeError
from diabolo.models.distributions import Likelihood, Posterior, likelihoods
from diabolo.models.engine import ANSWERING, FLOAT32, Arithmetic, FusedEngine, is_traced, is_transformed
from diabolo.models.networks import Network, networks
from diabolo.models.networks._base import check_modules
from diabolo.models.objectives import Batch, Group, Loss, Objective, Space, objectives
from diabolo.models.objectives._checks import check_loss, check_made, checked_groups
from diabolo.models.own_modules import (
    called,
    check_fit,
    differentiating,
    features_of,
    is_of_users,
    named,
    naming,
)
from diabolo.models.portable import check_portable, deep_copied, structure_of
from diabolo.models.preprocess import Preprocess
from diabolo.models.priors.own import CodePrior
from diabolo.models.units import Units
from diabolo.storage.foreign import reason

__all__ = ["Model", "OwnParts", "auto_likelihood", "build_model", "rebuild_model"]

Modules = tuple[nn.Module, nn.Module]

SPOKEN = "likelihood."  # what the statistics of a likelihood are called beside those of a variant
log = logging.getLogger("diabolo")

OLDER_NETWORKS = {"start": "random", "enlarge": "transposed"}  # what runs do not say that were made before they could

_DRAWING = threading.RLock()  # initial weights come from torch's global state: one model after the other


class Model(nn.Module):
    """Encoder + objective + decoder.

    `forward(x)` gives the named loss terms, so that a wrapper that runs it on several devices sees all of it.

    Attributes:
        code_shape: of the latent code: (d,), or (c, h, w), which is a row of d numbers wherever it is computed with.
        latent_dim: its numbers, d.
        epoch: training time in epochs; infinite while the model is evaluated.
        generator: where noise is drawn from; None is torch's own.
        training_arithmetic: how the encoder and the decoder are computed where gradients are wanted.
        evaluation_arithmetic: how they are computed otherwise, unless `answering` says how.
        is_recorded: whether its operations are recorded now, for a compiler.
        is_checked: whether the first loss of its variant was looked at.
        of_users: which of encoder, decoder, objective and likelihood are a user's own.
        sizes: what these encoders and decoders give for an example, as they did at first.
        structure: of its modules as it was built from its configuration, see `structure_of`.
        blamed: sentences on what gave NaN, while somebody asks.

    >>> import numpy as np
    >>> from diabolo.models import Preprocess
    >>> x = np.zeros((4, 8, 8), np.uint8)
    >>> model = build_model(Preprocess.fit(x, "HW", np.arange(4)), model="vae", latent_dim=2)
    >>> sorted(model(torch.from_numpy(x)).terms)
    ['kl', 'reconstruction']
    """

    def __init__(
        self,
        preprocess: Preprocess,
        modules: Modules,
        objective: Objective,
        likelihood: Likelihood,
        code_shape: tuple[int, ...],
        network: Network | None = None,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.encoder, self.decoder = modules
        self.objective = objective
        self.likelihood = likelihood
        self.code_shape = code_shape
        self.latent_dim = math.prod(code_shape)
        self.network = network
        self.epoch = math.inf
        self.generator: torch.Generator | None = None
        self.channels_last = False
        self.training_arithmetic = self.evaluation_arithmetic = FLOAT32
        self.is_recorded = self.is_checked = False
        parts = {"encoder": network, "decoder": network, "objective": objective, "likelihood": likelihood}
        self.of_users = {name for name, part in parts.items() if part is None or is_of_users(part)}
        self.sizes: dict[str, tuple[int, ...]] = {}
        self.structure = ""
        self.blamed: list[str] | None = None

    def forward(self, x: Tensor, y: Tensor | None = None, index: Tensor | None = None) -> Loss:
        """The loss terms of a batch as the user holds it, (B, *event), with its labels and places in the data set."""
        batch = Batch(self.preprocess.drawn(self.prepare(x), self.generator), y, index)
        with self.naming(x):
            if self.objective.second_order and not torch.is_grad_enabled():
                with torch.enable_grad():  # an evaluation, in which only the loss itself takes gradients
                    loss = self.objective.loss(batch, self).detached()
            else:
                loss = self.objective.loss(batch, self)
        if not self.is_checked:
            check_loss(loss, self.objective, x.shape[0], learns=self.training and torch.is_grad_enabled())
            self.is_checked = True
        own = self.likelihood.statistics(loss.output, batch.x) if self.training else {}
        if not own:
            return loss
        return replace(loss, statistics=loss.statistics | {f"{SPOKEN}{name}": value for name, value in own.items()})

    def naming(self, x: Tensor | None = None) -> contextlib.AbstractContextManager[None]:
        """A context in which an error of a variant or a likelihood of the user's own names it; x is what went in."""
        is_of_users = self.of_users & {"objective", "likelihood"} and not self.is_recorded
        return naming(self, x) if is_of_users else contextlib.nullcontext()

    def differentiating(self) -> contextlib.AbstractContextManager[None]:
        """A context of gradients, in which an error points to the parts of the user's own, where there are some."""
        return differentiating() if self.of_users else contextlib.nullcontext()

    @property
    def couples(self) -> str:
        """What of its loss is a statistic of the whole batch in training, in words; empty for none."""
        return self.objective.couples or self.likelihood.couples

    def prepare(self, x: Tensor) -> Tensor:
        """A batch as the user holds it, (B, *event), as the encoder takes it, (B, C, ...)."""
        x = self.preprocess(x)
        # A map of one channel counts as either format, and its consumers would choose the slow one.
        return x.contiguous(memory_format=torch.channels_last) if self.channels_last and x.dim() == 4 else x

    def encode(self, x: Tensor, y: Tensor | None = None) -> Posterior:
        """q(z | x) for x of shape (B, C, ...), as the model sees it, with labels, (B,), where it takes some."""
        batch = Batch(x, y)
        return self.objective.posterior(self.run("encoder", self.objective.enter(batch)), batch)

    def decode(self, z: Tensor | Units, y: Tensor | None = None) -> Tensor:
        """The likelihood's parameters for codes of shape (B, d), or their active units, with their labels, (B,)."""
        if isinstance(z, Units):
            if getattr(self.decoder, "takes_units", False) and not self.is_recorded:
                return self.run("decoder", z)
            z = z.dense()
        return self.run("decoder", self.objective.embed(z, y))

    def passed(self, x: Tensor) -> tuple[Posterior, Tensor]:
        """The codes of examples, (B, C, ...), and what is decoded from their means; with any labels: for the shapes."""
        labels = self.objective.labels
        y = None if labels == "none" else torch.full((len(x),), 0 if labels == "required" else -1, device=x.device)
        code = self.encode(x, y)
        return code, self.decode(code.mean, y)

    @torch.no_grad()
    def update(self, statistics: Mapping[str, Tensor], generator: torch.Generator) -> None:
        """Hands a step's statistics to the variant, whose buffers move in place, so that a compiled step sees them."""
        before = dict(self.objective.named_buffers())
        spoken = {name.removeprefix(SPOKEN): value for name, value in statistics.items() if name.startswith(SPOKEN)}
        with self.naming():
            self.likelihood.update(spoken)
            if len(spoken) == len(statistics):
                return
            self.objective.update({k: v for k, v in statistics.items() if not k.startswith(SPOKEN)}, generator)
        for name, value in self.objective.named_buffers():
            if value is not before[name]:
                if value.shape != before[name].shape:
                    raise ConfigError(
                        f"{type(self.objective).__name__}.update gave the buffer {name} the shape "
                        f"{tuple(value.shape)}, and it has {tuple(before[name].shape)}."
                    )
                module = self.objective.get_submodule(name.rpartition(".")[0])
                setattr(module, name.rpartition(".")[2], before[name].copy_(value))

    def prior(self, y: Tensor | None = None) -> CodePrior | None:
        """The variant's prior, as the weights and the labels of the codes in question have it; None for none."""
        prior: Any = self.objective.prior()
        if prior is None:
            return None
        if not isinstance(prior, CodePrior):
            what = f"the class {prior.__name__}" if isinstance(prior, type) else f"an object of {type(prior).__name__}"
            raise ConfigError(
                f"{type(self.objective).__name__}.prior should give a CodePrior that is made, such as "
                f"StandardNormal(d), or None, and gave {what}."
            )
        given: CodePrior = prior.given(self, y)
        return given

    def log_likelihood(self, output: Tensor, x: Tensor) -> Tensor:
        """Log p(x | z), (B,), in nats."""
        return (self.likelihood.log_prob_fused if self.is_recorded else self.likelihood.log_prob)(output, x)

    def start_training(self, dtype: torch.dtype, engine: FusedEngine | None = None) -> None:
        """Sets how the encoder and the decoder are trained, and evaluated meanwhile: that is in float32.

        Args:
            dtype: of wide layers in training: float32 or bfloat16.
            engine: computes the layers; None calls them as they are.
        """
        self.training_arithmetic = Arithmetic(dtype, engine)
        self.evaluation_arithmetic = Arithmetic(torch.float32, engine)

    def run(self, name: str, x: Tensor | Units) -> Tensor:
        """The encoder's or the decoder's output for a batch."""
        if name in self.of_users and isinstance(x, Tensor) and not self.is_recorded and not is_transformed():
            return called(self, name, x, lambda copied: self._output(name, copied))
        return self._output(name, x)

    def _output(self, name: str, x: Tensor | Units) -> Tensor:
        module: nn.Module = getattr(self, name)
        learns = torch.is_grad_enabled()
        if learns:
            arithmetic = self.training_arithmetic if self.training else FLOAT32
        else:
            arithmetic = ANSWERING.arithmetic or self.evaluation_arithmetic
        dtype, engine = arithmetic
        if engine is not None and isinstance(x, Tensor):
            # A gradient of a gradient, and whoever watches or transforms operations, needs the layers one by one; a
            # compiled step is recorded with the fused layers in it.
            one_by_one = (learns and self.objective.second_order) or (not self.is_recorded and is_traced(x))
            if not one_by_one:
                return engine(name, module, x, dtype)
        device = (x if isinstance(x, Tensor) else x.values).device.type
        with contextlib.nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype):
            output: Tensor = module(x)
        return output

    def __getstate__(self) -> dict[str, Any]:
        check_portable(dict(self.named_children()))
        return {**vars(self), "generator": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return deep_copied(self, memo)

    @property
    def counts_units(self) -> bool:
        """Whether a code is worth how many of its numbers are not zero: one with more numbers than are used at once."""
        return self.objective.overcomplete or self.latent_dim >= self.preprocess.values

    @property
    def parameter_count(self) -> int:
        """How many numbers are learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    def use_channels_last(self) -> None:
        """Lays the weights out channels last where there are convolutions of images: faster, with the same numbers."""
        self.channels_last = any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in self.modules())
        if self.channels_last:
            for module in (self.encoder, self.decoder):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def groups(self) -> list[Group]:
        """The parameters that are learned, in groups with a pace of their own."""
        learned = [parameter for parameter in self.parameters() if parameter.requires_grad]
        spread = list(self.likelihood.parameters()) if self.likelihood.pace != 1 else []
        others = checked_groups(self.objective)
        if spread:
            others.insert(0, Group(spread, self.likelihood.pace))
        named = {parameter for group in others for parameter in group.parameters}
        if sum(len(group.parameters) for group in others) > len(named) or not named <= set(learned):
            raise ConfigError(
                f"{type(self.objective).__name__}.groups should give parameters of the model that are learned, each "
                "once, and gave others, or one twice."
            )
        return [Group([parameter for parameter in learned if parameter not in named]), *others]

    def config(self) -> dict[str, Any]:
        """What rebuilds the model, ready for JSON; its numbers are the tensors of the state dict."""
        return {
            "model": _named(objectives.name_of(self.objective), self.objective),
            "network": _named(networks.name_of(self.network) if self.network else None, self.network),
            "likelihood": _named(likelihoods.name_of(self.likelihood), self.likelihood),
            "latent_dim": self.code_shape[0],
            "space": {"classes": list(self.objective.space.classes), "examples": self.objective.space.examples},
            "preprocess": self.preprocess.config(),
        }


def build_model(
    preprocess: Preprocess,
    *,
    model: str | Objective | type[Objective] = "autoencoder",
    network: str | Network | type[Network] | Modules = "mlp",
    likelihood: str | Likelihood | type[Likelihood] = "auto",
    latent_dim: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    space: Space = Space(),  # noqa: B008 (it is immutable)
) -> Model:
    """Puts a model together from names and options, or from the user's own parts.

    Args:
        preprocess: the layout and scale of the data.
        model: a variant, by name (also `module:Class`), by class or made.
        network: a network, likewise, or the user's own (encoder, decoder).
        likelihood: likewise; for `auto` see `auto_likelihood`.
        latent_dim: the dimensions of the latent code (at each place, where the network gives it places); when left out
            16, and at most half of an example's values; read off the encoder when it is the user's own.
        options: settings of the parts that are named: {"model": {...}, "network": {...}, "likelihood": {...}}.
        seed: of the initial weights.
        space: the classes, number and mean of the examples, for variants that are built for them.

    Raises:
        ConfigError: an unknown name or option, or parts that do not go together.
        ShapeError: the user's encoder or decoder does not fit the data.

    >>> import numpy as np
    >>> from diabolo.models import Preprocess
    >>> preprocess = Preprocess.fit(np.zeros((4, 8, 8), np.uint8), "HW", np.arange(4))
    >>> build_model(preprocess, network="conv", latent_dim=3).parameter_count > 1000
    True
    """
    options = options or {}
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        objective = objectives.made(model, options.get("model"))
        settings = options.get("likelihood")
        if likelihood == "auto":
            likelihood, settings, _ = auto_likelihood(preprocess, settings)
        spoken = likelihoods.made(likelihood, settings)
        check_made(objective, spoken)
        if isinstance(network, tuple):
            check_modules(network)
            assembled = _from_modules(preprocess, network, objective, spoken, latent_dim, space)
        else:
            plan = networks.made(network, options.get("network"))
            d = _default_code(preprocess.values, objective) if latent_dim is None else latent_dim
            assembled = _from_network(preprocess, plan, objective, spoken, d, space)
    with _DRAWING, torch.random.fork_rng(devices=[]):
        check_fit(assembled)
    assembled.structure = structure_of(assembled)
    return assembled


def _default_code(values: int, objective: Objective) -> int:
    """The dimensions of the latent code of examples of so many values: 16, and at most half of them.

    A variant whose codes may be large has 16 in any case.
    """
    return 16 if objective.overcomplete else max(1, min(16, values // 2))


def auto_likelihood(
    preprocess: Preprocess, options: Mapping[str, Any] | None = None, *, is_binary: bool = False
) -> tuple[str, dict[str, Any], str]:
    """The likelihood that fits the data where none is named.

    Values that are all 0 or 1 are draws: Bernoulli. All others get a Gaussian with one variance for all values, which
    is learned, so that the error weighs against the KL as it should without a setting (Rybkin et al. 2021,
    https://arxiv.org/abs/2006.13202). Bernoulli's cross-entropy of grey values would pay for each value of 0.5.

    Args:
        preprocess: the layout and scale of the data.
        options: settings of a likelihood; what only one of them has decides.
        is_binary: whether all values are 0 or 1.

    Returns:
        Its name, its settings, and the reason.

    >>> auto_likelihood(Preprocess(event_shape=(8, 8), layout="HW", scale="bytes"))[:2]
    ('gaussian', {'variance': 'learned', 'output': 'clip'})
    """
    options = dict(options or {})
    if "inputs" in options or ((is_binary or preprocess.binarize) and not options):
        reason = "all values are 0 or 1" if not options else "the option inputs belongs to it"
        return "bernoulli", options, reason
    output = {"output": "clip"} if preprocess.in_unit_range else {}
    if "degrees" in options:
        return "student", output | options, "the option degrees belongs to it"
    if "scale" in options:
        return "laplace", output | options, "the option scale belongs to it"
    reason = "one variance for all values, which is learned" if "variance" not in options else "the option variance"
    return "gaussian", {"variance": "learned"} | output | options, reason


class OwnParts(NamedTuple):
    """The parts of a run that its author made, and no name can make again.

    Attributes:
        modules: the encoder and the decoder.
        objective: the variant.
        likelihood: the likelihood.

    >>> OwnParts().modules is None
    True
    """

    modules: Modules | None = None
    objective: Objective | None = None
    likelihood: Likelihood | None = None


def rebuild_model(config: Mapping[str, Any], own: OwnParts = OwnParts()) -> Model:  # noqa: B008 (it is immutable)
    """The model that `config` describes, with untrained weights.

    Args:
        config: what `Model.config()` gave.
        own: parts that take the place of those that it names.

    Raises:
        RunError: the configuration cannot be followed.
        UntrustedError: a part is code of a module that nobody said to trust.

    >>> import numpy as np
    >>> from diabolo.models import Preprocess
    >>> preprocess = Preprocess.fit(np.zeros((4, 8, 8), np.uint8), "HW", np.arange(4))
    >>> rebuild_model(build_model(preprocess, latent_dim=3).config()).latent_dim
    3
    """
    try:
        settings = dict(config["preprocess"])
        preprocess = Preprocess(**{**settings, "event_shape": tuple(settings["event_shape"])})
        parts = {kind: config[kind] for kind in ("model", "network", "likelihood")}
        network = parts["network"]["name"]
        known = {item.name for item in parameters(networks[network])} if network in networks else set()
        older = {name: value for name, value in OLDER_NETWORKS.items() if name in known}
        options: dict[str, dict[str, Any]] = {kind: part["options"] for kind, part in parts.items()}
        options["network"] = {**older, **options["network"]}
        _say_absent(parts, options)
        about = config.get("space", {})  # of which older runs say nothing
        given = {"model": own.objective, "likelihood": own.likelihood}
        words = {"model": "objective", "likelihood": "likelihood"}
        unnamed = [kind for kind in given if parts[kind]["name"] is None and given[kind] is None]
        if unnamed:
            raise RunError(
                f"The {' and the '.join(unnamed)} of this run were made by its author and have no name to be rebuilt "
                f"from: hand them over, load(path, {', '.join(f'{words[kind]}=...' for kind in unnamed)}), as they "
                "were in training. (A class of a module that can be imported, whose constructor keeps its arguments, "
                "has a name.)"
            )
        if parts["network"]["name"] is None and own.modules is None:
            raise RunError(
                "The encoder and decoder of this run are modules of its author's own, which no file can rebuild: "
                "load it with load(path, modules=(encoder, decoder))."
            )
        return build_model(
            preprocess,
            model=own.objective or parts["model"]["name"],
            network=own.modules or parts["network"]["name"],
            likelihood=own.likelihood or parts["likelihood"]["name"],
            latent_dim=config["latent_dim"],
            options=options,
            space=Space(classes=tuple(about.get("classes", ())), examples=about.get("examples", 0)),
        )
    except PartError as error:
        raise RunError(str(error)) from error
    except (RunError, MemoryError):
        raise
    except Exception as error:  # of torch, or of a part that met what it does not expect
        if own.modules is not None and isinstance(error, ShapeError):
            raise  # the user's modules do not fit, and the message says how
        what = str(error) if isinstance(error, DiaboloError) else f"{reason(error)}."
        if any(own):
            raise ConfigError(f"What was handed over does not fit this run: {what}") from error
        named = [config.get(kind) for kind in ("model", "network", "likelihood")]
        is_outside = any(is_path(part.get("name")) for part in named if isinstance(part, dict))
        why = "Its module changed since then" if is_outside else "It was edited; restore it, or install what it names"
        raise RunError(f"The configuration cannot be followed: {what} {why}.") from error


def _say_absent(parts: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Says which options a saved configuration leaves to their defaults."""
    registries: dict[str, Registry[Any]] = {"model": objectives, "network": networks, "likelihood": likelihoods}
    for kind, registry in registries.items():
        name = parts[kind]["name"]
        known = parameters(registry[name]) if name in [*registry] else ()
        absent = [item for item in known if item.name not in options[kind]]
        if absent:
            defaults = ", ".join(f"{item.name}={item.default}" for item in absent)
            log.warning("The configuration does not say all of the %s %r: %s taken, the default.", kind, name, defaults)


def _named(name: str | None, part: Any) -> dict[str, Any]:
    return {"name": name, "options": configuration(part) if name else {}}


def _from_network(
    preprocess: Preprocess,
    network: Network,
    objective: Objective,
    likelihood: Likelihood,
    latent_dim: int,
    space: Space,
) -> Model:
    require(latent_dim >= 1, "latent_dim", "a number of dimensions of at least 1", latent_dim)
    shape = preprocess.model_shape
    with named("network", [network]):
        network = network.settled(shape)
        code_shape = network.code_shape(shape, latent_dim)
    _build(objective, space, code_shape, shape)
    sizes = objective.features(latent_dim), objective.fed(latent_dim), shape[0] * likelihood.width
    with named("network", [network]):
        modules = network.build(objective.encoder_shape(shape), *sizes)
    require(isinstance(modules, tuple), f"{type(network).__name__}.build", "a pair of modules", modules)
    check_modules(modules)
    return Model(preprocess, modules, objective, likelihood, code_shape, network)


def _from_modules(
    preprocess: Preprocess,
    modules: Modules,
    objective: Objective,
    likelihood: Likelihood,
    latent_dim: int | None,
    space: Space,
) -> Model:
    objective.space = replace(space, event_shape=preprocess.model_shape)  # the code's size is found from the modules
    features = features_of(modules[0], objective.encoder_shape(preprocess.model_shape))
    fitting = (d for d in range(1, features + 1) if objective.features(d) == features)
    d = next(fitting, None)
    if d is None or latent_dim not in (None, d):
        one, two = objective.features(1), objective.features(2)
        expected = f"{one} x latent_dim" if two == 2 * one else f"{one}, {two}, ... (for codes of 1, 2, ... numbers)"
        expected = expected if latent_dim is None else str(objective.features(latent_dim))
        raise ShapeError(f"The encoder should give {expected} numbers for each example, and gives {features}.")
    _build(objective, space, (d,), preprocess.model_shape)
    return Model(preprocess, modules, objective, likelihood, (d,))


def _build(objective: Objective, space: Space, code_shape: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Tells a variant what it is built for."""
    if objective.labels == "required" and not space.classes:
        raise ConfigError(
            f"The variant {type(objective).__name__} learns with the classes of its examples, and these have none: "
            "give labels that are classes (folders of classes, --labels NAME of a column or an array, labels=... in "
            "Python; numbers with a point are none), or take a variant that needs none."
        )
    if objective.labels == "partial":  # a class that is called so is none
        space = replace(space, classes=tuple(name for name in space.classes if name != "-1"))
    space = replace(space, latent_dim=math.prod(code_shape), event_shape=shape, code_shape=code_shape)
    with named("variant", [objective]):
        objective.build(space)
    objective.space = replace(space, mean=None)  # whether or not its own `build` kept it
