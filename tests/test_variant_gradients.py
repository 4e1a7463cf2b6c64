"""What the loss of each variant reaches: the parts that each term teaches, and the variants that it reduces to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diabolo.models.model import Model, build_model
from diabolo.models.objectives import Batch, Reduction, Space, objectives
from diabolo.models.preprocess import Preprocess

PARTS = ("encoder", "decoder", "likelihood", "objective")
NO_BRACKETS = str.maketrans("", "", "()")
# Settings of a variant under which it has further terms, or other ways to them, beside those that it has by default.
FURTHER: dict[str, list[dict[str, Any]]] = {
    "dip": [{"kind": "ii"}],
    "conditional": [{"embedding": "one-hot"}, {"class_priors": True}],
    "denoising": [{"noise": "masking=0.5"}],
    "fsq": [{"lfq": True}],
    "rae": [{"penalty": "gp"}],
    "tc": [{"estimate": "mws"}],
    "hierarchical": [{"ladder": True, "upper_widths": (8,)}],
    "iwae": [{"draws": 3, "repeats": 2, "estimator": one} for one in ("dreg", "piwae", "ciwae")],
    "sparse": [{"k": 1, "l1": 0.0}],
    "matryoshka": [{"k": 2, "scope": "example", "nested": (2, 3)}],
    "topk": [{"k": 2, "scope": "batch"}],
    "vae": [{"draws": 3, "noise_scale": "variance"}, {"free_bits": 0.5}],
    "vamp": [{"components": 5, "exemplars": True}],
    "wae": [{"distance": "sliced"}, {"distance": "cramer-wold"}],
    "vq": [{"decay": 0.0, "levels": 2}],
}
SMALL: dict[str, dict[str, Any]] = {
    "matryoshka": {"dead": 0},
    "topk": {"dead": 0},
    "vamp": {"components": 5},
    "vq": {"codes": 4},
}
ROWS = [(name, SMALL.get(name, {}) | further) for name in objectives for further in [{}, *FURTHER.get(name, [])]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """48 pictures in [0, 1], of three classes."""
    return Batch(torch.rand(48, 8, 8, generator=seeded(0)), torch.arange(48) % 3, torch.arange(48))


def built(name: str, options: Mapping[str, Any], batch: Batch, network: str = "mlp") -> Model:
    """A model of random weights, ready to train, which has started from the batch."""
    preprocess = Preprocess(event_shape=(8, 8), layout="HW", scale="unit")
    layers = {"mlp": {"widths": (16,), "start": "random"}, "conv": {"channels": (4,), "start": "random"}}
    parts = {"model": options, "network": layers[network], "likelihood": {"variance": "learned"}}
    about = {"latent_dim": 4, "space": Space(classes=("a", "b", "c"), examples=48, mean=batch.x.mean(0, keepdim=True))}
    model = build_model(preprocess, model=name, network=network, likelihood="gaussian", options=parts, **about)
    with torch.no_grad():
        model.objective.initialise(Batch(preprocess(batch.x), batch.y, batch.index), model.eval())
    model.train()
    model.epoch, model.generator = 0.5, seeded(7)
    return model


def loss_of(model: Model, batch: Batch) -> Any:
    objective = model.objective
    return model(
        batch.x, None if objective.labels == "none" else batch.y, batch.index if objective.wants_index else None
    )


def parameters_of(model: Model, part: str) -> dict[str, Tensor]:
    return dict(getattr(model, part).named_parameters())


# --- what each term reaches -------------------------------------------------------------------------------------------


def reached(name: str, options: dict[str, Any], batch: Batch) -> dict[str, str]:
    """Each term, and the parts of which it has a gradient that is not zero."""
    model = built(name, options, batch)
    found = {}
    for term, value in loss_of(model, batch).terms.items():
        taught = []
        for part in PARTS:
            own = [parameter for parameter in parameters_of(model, part).values() if parameter.requires_grad]
            gradients = torch.autograd.grad(value.sum(), own, retain_graph=True, allow_unused=True) if own else ()
            if any(gradient is not None and gradient.count_nonzero() for gradient in gradients):
                taught.append(part)
        found[term] = " ".join(taught)
    return found


@pytest.mark.parametrize(("name", "options"), ROWS, ids=[f"{name}-{number}" for number, (name, _) in enumerate(ROWS)])
def test_each_term_teaches_what_the_variant_says(name: str, options: dict[str, Any], batch: Batch) -> None:
    found, said = reached(name, options, batch), objectives[name].teaches
    assert said, f"{name} says in `teaches` which of {', '.join(PARTS)} learn from each of its terms"
    for term, taught in found.items():
        words = said.get(term, "nothing is said of it").split()
        assert taught in (" ".join(words).translate(NO_BRACKETS), " ".join(word for word in words if word[0] != "(")), (
            term
        )


@pytest.mark.parametrize("name", list(objectives))
def test_each_term_it_speaks_of_is_there_under_some_settings(name: str, batch: Batch) -> None:
    rows = [options for one, options in ROWS if one == name]
    seen: dict[str, set[str]] = {}
    for options in rows:
        for term, taught in reached(name, options, batch).items():
            seen.setdefault(term, set()).update(taught.split())
    said = {term: set(words.translate(NO_BRACKETS).split()) for term, words in objectives[name].teaches.items()}
    assert seen == said, f"FURTHER of {__file__} has the settings of its other terms, and of parts in brackets"


# --- what it reduces to -----------------------------------------------------------------------------------------------

CASES = [(name, reduction) for name in objectives for reduction in objectives[name].reduces]


def test_some_variants_reduce_to_others() -> None:
    assert {(name, reduction.other) for name, reduction in CASES} >= {
        ("denoising", "autoencoder"),
        ("sparse", "autoencoder"),
    }


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(
    ("name", "reduction"), CASES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(CASES)]
)
def test_under_some_settings_it_is_another_variant_bit_for_bit(
    name: str, reduction: Reduction, network: str, batch: Batch
) -> None:
    one = built(name, reduction.settings, batch, network)
    other = built(reduction.other, reduction.others, batch, network)
    theirs = other.state_dict()
    shared = [key for key, value in one.state_dict().items() if key in theirs and value.shape == theirs[key].shape]
    for part in PARTS[:3]:
        assert {f"{part}.{key}" for key in parameters_of(one, part)} <= set(shared), f"the same {part}"
    one.load_state_dict({key: theirs[key] for key in shared}, strict=False)
    losses = [loss_of(model, batch) for model in (one, other)]
    assert torch.equal(losses[0].total, losses[1].total)
    assert np.isfinite(losses[0].total.item())
    assert torch.equal(losses[0].terms["reconstruction"], losses[1].terms["reconstruction"])
    for loss in losses:
        loss.total.backward()
    learned = [dict(model.named_parameters()) for model in (one, other)]
    compared = [key for key in shared if key in learned[0] and key in learned[1]]
    for key in compared:
        mine, its = (own[key].grad for own in learned)
        assert (mine is None) == (its is None), key
        assert mine is None or torch.equal(mine, its), key
    assert any(learned[0][key].grad.count_nonzero() for key in compared)
