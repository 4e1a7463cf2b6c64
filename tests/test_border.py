"""The library's border: whatever is handed to a public function, an error is one of diabolo's."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import diabolo
from diabolo.errors import DiaboloError
from diabolo.latent import geometry
from diabolo.latent.anomalies import Threshold
from diabolo.latent.code_statistics import CodeStatistics
from diabolo.latent.concepts import ConceptVector
from diabolo.models.priors import fit_prior, load_prior

X = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
LABELS = np.arange(len(X)) % 2
CODES = np.random.default_rng(0).normal(size=(60, 2))
WRONG: list[Any] = [
    None, "x", "", 3, -1, 1.5, np.nan, np.inf, 10**30, 2**62, True, [], [[]], {}, (), b"x", object(), {"a": 1}, [None],
    [object()], ["a", 1], [[1], [2, 3]], np.array("x"), np.zeros(0), np.zeros((2, 0)), np.array([None]), 1j, int, len,
    "a\0b", "\ud800", {1, 2}, np.datetime64("2020"), [np.nan, 1.0], range(3), Path("nowhere"), np.float64(3), iter([]),
]  # fmt: skip


@pytest.fixture(scope="module")
def model() -> diabolo.Autoencoder:
    made = diabolo.train(X, model="vae", latent_dim=2, widths=(8,), epochs=1, engine="torch")
    made.fit_prior("gaussian", X)
    made.calibrate(X, false_alarms=0.2)
    made.learn_concept("odd", X, LABELS, positive=1)
    return made


def doors(model: diabolo.Autoencoder, folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """Public functions with arguments that are right."""
    right: dict[str, dict[str, Any]] = {
        "sample": {"n": 2}, "sample_codes": {"n": 2}, "fit_prior": {"kind": "gaussian", "x": X},
        "fit_statistics": {"x": X}, "score": {"x": X[:3]}, "calibrate": {"x": X, "false_alarms": 0.2},
        "detect": {"x": X[:3]}, "learn_concept": {"name": "a", "x": X, "labels": LABELS, "positive": 1},
        "edit": {"x": X[:2], "concept": "odd"}, "interpolate": {"a": X[0], "b": X[1], "n": 3},
        "traverse": {"x": X[0], "dim": 0, "values": [0, 1]}, "manifold": {"n": 2},
        "neighbours": {"x": X, "query": X[:2], "k": 2}, "class_means": {"x": X, "labels": LABELS},
        "save": {"folder": folder / "saved"}, "encode": {"x": X[:2]}, "decode": {"z": [[0.0, 0.0]]},
        "reconstruct": {"x": X[:2]}, "denoise": {"x": X[:2]}, "surprise": {"x": X[:2]}, "loss_terms": {"x": X[:2]},
        "tokens": {"x": X[:2]}, "completed": {"upper": [[0.0]]}, "codes_of": {"tokens": [[0]]}, "corrupt": {"x": X[:2]},
        "labels_of": {"dataset": diabolo.open_dataset(X)}, "pixels": {"x": X[:2]},
    }  # fmt: skip
    methods = {name: (getattr(model, name), arguments) for name, arguments in right.items()}
    codes, scores = {"codes": CODES}, {"scores": np.arange(99.0)}
    prior, threshold = fit_prior("gaussian", CODES), Threshold.calibrate(**scores, false_alarms=0.1, kind="elbo")
    concept, statistics = model.concepts["odd"], CodeStatistics.fit(CODES)
    return methods | {
        "load": (diabolo.load, {"folder": model.save(folder / "run")}),
        "Autoencoder": (diabolo.Autoencoder, {"model": model.model}),
        "open_dataset": (diabolo.open_dataset, {"source": X}),
        "evaluate": (diabolo.evaluate, {"run": model, "source": X}),
        "compare": (diabolo.compare, {"runs": [model, model], "source": X}),
        "resume": (diabolo.resume, {"folder": folder / "run"}),
        "interpolate codes": (geometry.interpolate, {"a": CODES[0], "b": CODES[1], "n": 3}),
        "traverse codes": (geometry.traverse, {"z": CODES[0], "dim": 0, "values": [0, 1]}),
        "manifold_grid": (geometry.manifold_grid, {"n": 2}),
        "nearest": (geometry.nearest, codes | {"query": CODES[:2], "k": 2}),
        "class means of codes": (geometry.class_means, codes | {"labels": LABELS}),
        "fit_prior of codes": (fit_prior, {"kind": "gaussian", **codes}),
        "load_prior": (load_prior, {"path": folder / "run" / "prior.safetensors"}),
        "prior.sample": (prior.sample, {"n": 2}),
        "prior.log_prob": (prior.log_prob, codes),
        "prior.save": (prior.save, {"path": folder / "prior"}),
        "Threshold.calibrate": (Threshold.calibrate, scores | {"false_alarms": 0.1, "kind": "elbo"}),
        "exceeded": (threshold.exceeded, scores),
        "p_values": (threshold.p_values, scores),
        "Threshold.load": (Threshold.load, {"path": folder / "run" / "threshold.json"}),
        "ConceptVector.fit": (ConceptVector.fit, codes | {"labels": LABELS}),
        "ConceptVector.load": (ConceptVector.load, {"path": folder / "run" / "concepts" / "odd.safetensors"}),
        "apply": (concept.apply, codes | {"strength": 1.0}),
        "CodeStatistics.fit": (CodeStatistics.fit, codes),
        "CodeStatistics.load": (CodeStatistics.load, {"path": folder / "run" / "statistics.safetensors"}),
        "mahalanobis": (statistics.mahalanobis, codes),
    }


def test_wrong_types_end_in_one_error_of_diabolo(
    model: diabolo.Autoencoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls, bare = 0, []
    for name, (function, right) in doors(model, tmp_path).items():
        names = [
            item.name
            for item in inspect.signature(function).parameters.values()
            if item.kind not in (item.VAR_KEYWORD, item.VAR_POSITIONAL)
        ]
        for argument, value in itertools.product(names, WRONG):
            calls += 1
            try:
                function(**{**right, argument: value})
            except DiaboloError:
                continue
            except Exception as error:  # noqa: BLE001 (that is what is looked for)
                bare.append(f"{name}({argument}={value!r:.40}): {type(error).__name__}: {str(error)[:90]}")
    assert not bare, f"{len(bare)} of {calls}:\n" + "\n".join(bare[:400])
    assert calls > 2000


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: model.loss_terms(X, seed=None), "seed should be a whole number, and was given None."),
        (lambda model: model.score(X, kind=3), "kind should be text or None, and was given 3."),
        (lambda model: diabolo.load(None), "folder should be a path, and was given None."),
        (lambda model: model.fit_prior("gmm", X, seed=1.5), "seed should be a whole number, and was given 1.5."),
        (lambda model: model.sample(10**30), "n should be a whole number, and was given a whole number of 31 digits."),
        (lambda model: model.encode(X, sample=1), "sample should be True or False, and was given 1."),
        (lambda model: model.edit(X, "odd", strength="much"), "strength should be a number or"),
    ],
)
def test_what_was_expected_and_what_was_given(model: diabolo.Autoencoder, call: Any, words: str) -> None:
    with pytest.raises(DiaboloError, match=words.replace(".", r"\.")):
        call(model)


def test_numbers_of_other_kinds_are_taken(model: diabolo.Autoencoder) -> None:
    for n in (np.int64(2), 2.0, np.float32(2)):
        np.testing.assert_array_equal(model.sample(n, seed=np.uint8(3)), model.sample(2, seed=3))
    assert model.calibrate(X, false_alarms=np.float32(0.25)).count == len(X)
