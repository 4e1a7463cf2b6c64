"""The proof of concept vectors: a smile learned from one half of a set of faces and put on those of the other half.

    python benchmarks/smiles.py [--data-dir DIR] [--out DIR] [--quick]

The data is a folder `smiles` under DIABOLO_DATA_DIR with the class folders `smile` and `neutral` (64 x 64, grey).
Half of each class is for training: the VAE (the recipe `smiles`), the concept vector and the judge see nothing else.
The judge is a classifier of pixels that never sees the model; it learns from the faces with their mirror images, shifts
and blurs, so that it can judge a blurry picture too. What is measured is measured on the neutral faces of the other
half: at the gap between the groups, at the strength that `diabolo concept learn` advises, and at the smallest one at
which the judge calls at least 90% of the training half's neutral faces, edited, smiling.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import diabolo
from diabolo import figures
from diabolo.autoencoder.model import Autoencoder

METHODS = ("mean", "logistic", "svm")
WANTED = 0.9
SHOWN = 6


def main() -> None:
    """Trains, learns, edits, judges; prints the table and draws the strip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default=os.environ.get("DIABOLO_DATA_DIR"), help="where the folder smiles lies")
    parser.add_argument("--out", type=Path, default=Path("runs/smiles"), help="the run's folder")
    parser.add_argument("--quick", action="store_true", help="a quarter of the faces and of the epochs: a check")
    found = parser.parse_args()
    if not found.data_dir:
        parser.error("say where the folder smiles lies: --data-dir or DIABOLO_DATA_DIR")
    dataset = diabolo.open_dataset(Path(found.data_dir) / "smiles", size=64)
    smile, names = dataset.classes.index("smile"), np.array(dataset.classes)
    train, held = halves(dataset.y, 4 if found.quick else 1)
    x, y = dataset.x[train], dataset.y[train] == smile
    model = trained(x, found.out, {"epochs": 5} if found.quick else {})
    judge = Judge(x, y, epochs=3 if found.quick else 12)
    for method in METHODS:
        model.learn_concept(
            "smile" if method == "mean" else f"smile-{method}",
            x, names[dataset.y[train]], positive="smile", negative="neutral", method=method,
        )  # fmt: skip
    model.artifacts.save(found.out)

    faces, truth = dataset.x[held], dataset.y[held] == smile
    called = judge(faces / np.float32(255))
    right = called == truth
    plain = faces[~truth]
    rebuilt = model.reconstruct(plain)
    everyone = model.reconstruct(faces)
    rows = [
        ("the judge, right on held-out faces", share(right)),
        ("  on those that smile", share(right[truth])),
        ("  on neutral ones", share(right[~truth])),
        ("called smiling: held-out neutral faces, reconstructed", share(judge(rebuilt))),
        ("called smiling: held-out smiling faces, reconstructed", share(judge(everyone[truth]))),
    ]
    for method in METHODS:
        name = "smile" if method == "mean" else f"smile-{method}"
        concept = model.concepts[name]
        interval = f"[{concept.auc_low:.3f}, {concept.auc_high:.3f}]"
        rows.append((f"{method}: AUC on codes it was not learned from", f"{concept.auc:.3f} {interval}"))
        strengths = {
            "the gap": concept.gap,
            "the advised strength": concept.strength,
            "the strength chosen on the training half": chosen(model, judge, name, x[~y]),
        }
        for what, strength in strengths.items():
            edited = model.edit(plain, name, strength)
            rows += [
                (f"{method}, at {what}, {strength:.2f}: called smiling", share(judge(edited))),
                ("  nearer to its own reconstruction than to any other's", share(own(edited, rebuilt, everyone))),
            ]
    print(f"{len(train):,} faces to learn from, {len(held):,} held out ({len(plain):,} neutral); seed 0\n")
    print("| what | share [95% interval] |\n| --- | --- |")
    for name, text in rows:
        print(f"| {name} | {text} |")
    (found.out / "smiles.json").write_text(json.dumps(rows, indent=2))
    draw(model, plain[:SHOWN], model.concepts["smile"].strength, found.out)


def halves(y: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Half of each class to train on and the other to hold out; of every `part`-th face alone."""
    rng = np.random.default_rng(0)
    train, held = [], []
    for label in np.unique(y):
        order = rng.permutation(np.flatnonzero(y == label))[::part]
        train.append(order[: len(order) // 2])
        held.append(order[len(order) // 2 :])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(held))


def trained(x: np.ndarray, out: Path, options: dict[str, Any]) -> Autoencoder:
    """The recipe's model of the faces; taken from the folder where it was trained before."""
    if (out / "model.safetensors").exists():
        return diabolo.load(out)
    return diabolo.train(x, recipe="smiles", layout="HW", out=out, seed=0, **options)


class Judge:
    """A convolutional classifier of 64 x 64 grey pixels in [0, 1]: smiling or not."""

    def __init__(self, x: np.ndarray, y: np.ndarray, epochs: int) -> None:
        generator = torch.Generator().manual_seed(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            layers: list[nn.Module] = []
            for inputs, outputs in ((1, 16), (16, 32), (32, 64), (64, 64)):
                layers += [
                    nn.Conv2d(inputs, outputs, 3, padding=1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ]
            self.network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, 1))
        values = torch.from_numpy(x)
        labels = torch.from_numpy(y.astype(np.float32))
        weight = torch.where(labels > 0, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
        optimizer = torch.optim.AdamW(self.network.parameters(), 2e-3, weight_decay=0.05)
        steps = epochs * math.ceil(len(x) / 64)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        self.network.train()
        for _ in range(epochs):
            for batch in torch.randperm(len(x), generator=generator).split(64):
                seen = varied(values[batch].float().unsqueeze(1) / 255, generator)
                loss = F.binary_cross_entropy_with_logits(self.network(seen).squeeze(1), labels[batch], weight[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self.network.eval()

    @torch.no_grad()
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Whether faces, (n, 64, 64) in [0, 1], smile."""
        parts = [self.network(part.unsqueeze(1)).squeeze(1) > 0 for part in torch.from_numpy(np.array(x)).split(500)]
        return torch.cat(parts).numpy()


def varied(x: Tensor, generator: torch.Generator) -> Tensor:
    """Faces as they might also have been taken: mirrored, shifted by up to 3 pixels, blurred, of another contrast."""
    if torch.rand((), generator=generator) < 0.5:
        x = x.flip(3)
    down, across = torch.randint(-3, 4, (2,), generator=generator).tolist()
    x = F.pad(x, (3, 3, 3, 3), mode="replicate")[:, :, 3 + down : 67 + down, 3 + across : 67 + across]
    sigma = 2.0 * float(torch.rand((), generator=generator))
    if sigma > 0.3:
        window = torch.exp(-0.5 * (torch.arange(-5.0, 6.0) / sigma) ** 2)
        window /= window.sum()
        x = F.conv2d(F.pad(x, (5, 5, 0, 0), mode="replicate"), window.view(1, 1, 1, -1))
        x = F.conv2d(F.pad(x, (0, 0, 5, 5), mode="replicate"), window.view(1, 1, -1, 1))
    gain = 0.8 + 0.4 * torch.rand((len(x), 1, 1, 1), generator=generator)
    return ((x - 0.5) * gain + 0.5).clamp(0, 1)


def chosen(model: Autoencoder, judge: Judge, name: str, neutral: np.ndarray) -> float:
    """The smallest strength, in quarters, at which enough neutral faces of the training half are called smiling."""
    for strength in np.arange(0.25, 8.1, 0.25):
        if judge(model.edit(neutral, name, strength)).mean() >= WANTED:
            return float(strength)
    return 8.0


def own(edited: np.ndarray, rebuilt: np.ndarray, everyone: np.ndarray) -> np.ndarray:
    """Whether each edited face is nearer to its own reconstruction than to any other one's, in Euclidean distance."""
    flat, mine, all_of = (part.reshape(len(part), -1) for part in (edited, rebuilt, everyone))
    squares = np.square(all_of).sum(1)
    nearer = []
    for first in range(0, len(flat), 500):
        part = slice(first, first + 500)
        distances = squares - 2 * flat[part] @ all_of.T + np.square(flat[part]).sum(1)[:, None]
        to_own = np.square(flat[part] - mine[part]).sum(1)
        nearer.append(to_own <= distances.min(1) + 1e-3)
    return np.concatenate(nearer)


def share(holds: np.ndarray) -> str:
    """How many, in per cent, with the 95% interval of Wilson (1927)."""
    n, p, z = len(holds), holds.mean(), 1.96
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return f"{100 * p:.1f}% [{100 * low:.1f}, {100 * high:.1f}] of {n:,}"


def draw(model: Autoencoder, faces: np.ndarray, strength: float, out: Path) -> None:
    """The first held-out neutral faces, moved along the vector."""
    strengths = [-strength, 0.0, *(strength * np.array([0.5, 1.0, 1.5])).tolist()]
    rows = np.concatenate([np.stack([model.edit(face[None], "smile", s)[0] for s in strengths]) for face in faces])
    label = "strength of the smile, in standard deviations"
    for theme in ("light", "dark"):
        picture = figures.strip(rows, "HW", strengths, originals=faces, label=label, theme=theme)
        figures.save(picture, out / f"smile-strip{'' if theme == 'light' else '-dark'}.png")


if __name__ == "__main__":
    main()
