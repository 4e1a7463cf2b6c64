"""The same weights, batch and noise in pythae and here: is the loss the same?

    python benchmarks/transplanted.py [--update]

`pythae` 0.1.2 runs in an environment of its own (`benchmarks/peers`), builds each of its models with its default
networks, saves it, and writes its loss of one batch of 16 images of 8 x 8 with the noise that it drew. Here the model
is opened by `import_pythae`, given the same batch and noise, and its loss is taken less what a Gaussian's logarithm has
beside the squared error. The last column of the table is the difference; where it is not zero to float32's precision, a
note says whose formula differs, and a test shows by enumeration or in closed form which is right. --update writes the
table into docs/results.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import written
from timing.environments import PEERS, interpreter

from diabolo.models import DiagonalGaussian, Space, StandardNormal
from diabolo.models.objectives._aggregate import Codes
from diabolo.models.objectives._distances import mmd
from diabolo.models.objectives.dip import DIP
from diabolo.models.objectives.tc import TC
from diabolo.runs import import_pythae

EXAMPLES = 1_000
WEIGHTED = (
    "theirs is -sum of v log w with v = w / sum w: the bound's gradient, and no bound; it lies ln K - H(v) below "
    "(tests/test_iwae.py)"
)
NOTES = {
    **dict.fromkeys(("IWAE", "CIWAE", "MIWAE", "PIWAE"), WEIGHTED),
    "DisentangledBetaVAE": "theirs is the mean distance of each KL from C, ours that of the mean KL "
    "(Burgess et al. 2018; dlib)",
    "BetaTCVAE": "their stratified weights are not on the diagonal: q(z) comes out two to three times too large in all "
    "rows but the first (tests/test_disentangling.py enumerates all batches)",
    "RAE_GP": "theirs is the gradient of the summed output by x, through the encoder; ours the decoder's Jacobian "
    "(tests/test_smooth.py)",
    "VAE-bce": "theirs takes logarithms of probabilities that are rounded to float32, ours of logits",
}


def main() -> None:
    """Asks pythae, then ours, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the table into docs/results.md")
    found = parser.parse_args()
    lines = ["| pythae | here | its loss | ours - theirs | |", "| --- | --- | ---: | ---: | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([interpreter("pythae"), PEERS / "transplanted_pythae.py", folder], check=True)  # noqa: S603 (our own program)
        for place in sorted(path for path in Path(folder).iterdir()):
            name = place.name.partition("-")[0]
            variant, theirs, ours = compared(place)
            gap = ours - theirs
            note = NOTES.get(place.name, NOTES.get(name, "")) if abs(gap) > 1e-4 * max(1.0, abs(theirs)) else ""
            lines.append(f"| `{place.name}` | `{variant}` | {theirs:.5f} | {gap:+.1e} | {note} |")
    table = "\n".join(lines)
    others = "\n".join(of_autoencoders())
    print(f"{table}\n\n{others}")
    if found.update:
        written("transplanted", table)
        written("transplanted-autoencoders", others)


def of_autoencoders() -> list[str]:
    """The lines of the table of `autoencoders` 0.6.8: what it makes of the codes of 64 examples, and we."""
    draw = np.random.default_rng(0).standard_normal
    mean, log_variance = draw((64, 4)).astype(np.float32), (draw((64, 4)) - 1).astype(np.float32)
    codes = {"mean": mean, "log_variance": log_variance, "prior": draw((64, 4)).astype(np.float32)}
    codes |= {"z": (mean + np.exp(log_variance / 2) * draw((64, 4))).astype(np.float32)}
    codes["other"] = draw((64, 4)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        given, said = Path(folder) / "codes.npz", Path(folder) / "said.json"
        np.savez(given, **codes)
        program = PEERS / "transplanted_autoencoders.py"
        subprocess.run([interpreter("autoencoders"), program, given, said], check=True)  # noqa: S603 (our own program)
        theirs = json.loads(said.read_text())
    z, prior, other = (torch.from_numpy(codes[name]) for name in ("z", "prior", "other"))
    posterior = DiagonalGaussian(torch.from_numpy(mean), torch.from_numpy(log_variance))
    rows = [("KL from N(0, I)", "kl", StandardNormal(4).kl(posterior).sum(1).mean(), "")]
    for examples in (64, 60_000):
        codes_of = Codes(posterior, z, z[:, 0], StandardNormal(4), 1.0, None)
        variant = TC()
        variant.build(Space(4, (16,), (4,), examples=examples))
        terms = variant.regularised(codes_of).terms
        note = (
            "of 60,000 examples a batch is a part: theirs takes it for all, so that the information stays below ln 64"
        )
        for name, term in zip(
            ("mutual information", "total correlation", "dimension-wise kl"), terms.values(), strict=True
        ):
            rows.append((f"{name}, {examples:,} examples", name, term.mean(), note if examples > len(z) else ""))
    penalty = DIP().regularised(Codes(posterior, z, z[:, 0], StandardNormal(4), 1.0, None)).terms
    rows.append(("DIP, squared covariances", "dip", sum(one.mean() for one in penalty.values()), ""))
    note = (
        "theirs has other kernels, and keeps the diagonals: two samples of one distribution are apart by more than zero"
    )
    rows.append(("MMD of codes from N(0, I)", "mmd", mmd(z, prior), note))
    rows.append(("MMD of N(0, I) from N(0, I)", "mmd of N(0, I)", mmd(other, prior), note))
    lines = ["| of 64 codes | autoencoders | here | ours - theirs | |", "| --- | ---: | ---: | ---: | --- |"]
    for title, name, ours, why in rows:
        lines.append(
            f"| {title} | {theirs[name]:.5f} | {float(ours):.5f} | {float(ours) - theirs[name]:+.1e} | {why} |"
        )
    return lines


def compared(place: Path) -> tuple[str, float, float]:
    """The variant, and the losses: theirs and ours."""
    said = np.load(place / "said.npz")
    model = import_pythae(place).model.train()
    model.objective.space = dataclasses.replace(model.objective.space, examples=EXAMPLES)
    noise = [said[key] for key in sorted(key for key in said if key.startswith("noise"))]
    order = said["order"]
    loss = with_noise(model, torch.from_numpy(said["x"][order]), noise)
    config = model.config()
    theirs = said["autoencoder_loss"] if "autoencoder_loss" in said else said["loss"]
    if "encoder_loss" in said:
        theirs = said["decoder_loss"]
    weights = {**loss.weights, **dict.fromkeys(("critic", "weights"), 0.0)}
    if "codebook" in loss.terms:  # theirs is a mean over the numbers of a code, ours their sum
        weights["codebook"] = 1 / model.latent_dim
    ours = sum(weights.get(name, 1.0) * value.mean() for name, value in loss.terms.items())
    variance = getattr(model.likelihood, "variance", None)
    if isinstance(variance, (int, float)):
        ours = ours - said["x"][0].size / 2 * math.log(2 * math.pi * variance)
    return config["model"]["name"], float(theirs), float(ours)


def with_noise(model: Any, x: torch.Tensor, noise: list[np.ndarray]) -> Any:
    """The loss of a batch whose noise, (B, d) each time, is what pythae drew, (B, d), (B, K, d) or (B, K, M, d)."""
    parts: list[torch.Tensor] = []
    for array in noise:
        if array.ndim == 2:
            parts.append(torch.from_numpy(array[: len(x)]))
        else:
            rows = array[:, :, None] if array.ndim == 3 else array
            parts += [torch.from_numpy(rows[:, k, m]) for m in range(rows.shape[2]) for k in range(rows.shape[1])]
    drawn, left = torch.randn, iter(parts)
    torch.randn = lambda *shape, **more: next(left)  # type: ignore[assignment]
    try:
        model.epoch = math.inf
        return model(x)
    finally:
        torch.randn = drawn


if __name__ == "__main__":
    main()
