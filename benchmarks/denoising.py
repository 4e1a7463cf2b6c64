"""Denoising MNIST: peak signal-to-noise ratio and structural similarity, beside PCA and non-local means.

    DIABOLO_DATA_DIR=... python benchmarks/denoising.py [--quick] [--json FILE] [--picture FILE.png]

The first 2,000 test images, in [0, 1], with Gaussian noise of deviation 0.15, 0.3 or 0.5 (seed 0), not clipped. One
denoising autoencoder is trained, at 0.3 alone (the 54,000 training images, a new noise each time; conv, code of 256
numbers), and used at all three; the plain autoencoder is the same network trained as long on clean images.

The competitors are given the true deviation and are tuned at each one, for the highest ratio on validation images: PCA
(fitted on the clean training images) in its number of components, on 1,000; scikit-image's denoise_nl_means (sigma
given, slow mode) in h, patch size and patch distance, on 50. What they and
the plain autoencoder give or take is clipped to [0, 1].

Numbers are means over images of scikit-image's peak_signal_noise_ratio and structural_similarity (data_range 1,
otherwise at its defaults); an interval is 95%, a bootstrap over the images. One training seed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pinned import CONV
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means
from sklearn.decomposition import PCA

import diabolo
from diabolo.figures import save
from diabolo.figures._denoising import denoised

LEVELS = (0.15, 0.3, 0.5)
TRAINED = 0.3
NETWORK = {**CONV, "hidden": (), "latent_dim": 256}
COMPONENTS = (10, 15, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300)
RESAMPLES = 1000
Method = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Prints a table as Markdown for each level of noise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 images, one short epoch: to see that it runs")
    parser.add_argument("--json", type=Path, help="where to write the numbers")
    parser.add_argument("--picture", type=Path, help="where to draw the first ten test images, .png")
    found = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    begun = time.monotonic()
    mnist = diabolo.open_dataset("mnist")
    split = mnist.split(0, 0.1, 0.0)
    fitted, epochs = (split.train[:3000], 1) if found.quick else (split.train, 8)
    clean = as_floats(mnist.x[split.test[: 100 if found.quick else 2000]])
    validation = as_floats(mnist.x[split.validation[:1000]])
    train = mnist.x[np.concatenate([fitted, split.validation])]
    options = {**NETWORK, "epochs": epochs, "schedule": "cosine", "lr": 2e-3, "validation": 0.1, "test": 0.0, "seed": 0}
    ours = diabolo.train(train, model="denoising", noise=f"gaussian={TRAINED}", **options)
    plain = diabolo.train(train, model="autoencoder", **options)
    pca = PCA(max(COMPONENTS), svd_solver="randomized", random_state=0).fit(flat(as_floats(mnist.x[fitted])))
    print(f"{time.monotonic() - begun:.0f} seconds to train\n", flush=True)
    everything = {}
    for level in LEVELS:
        noisy = with_noise(clean, level)
        methods: dict[str, Method] = {
            "noisy": lambda x: x,
            "noisy, clipped to [0, 1]": lambda x: x.clip(0, 1),
            **tuned_pca(pca, validation, level),
            **tuned_means(validation[:50], level),
            "autoencoder trained on clean images": lambda x: plain.reconstruct(x.clip(0, 1)),
            f"diabolo, denoising (trained at {TRAINED})": ours.denoise,
        }
        made = {name: method(noisy) for name, method in methods.items()}
        everything[str(level)] = show(level, {name: judge(x, clean) for name, x in made.items()})
        if found.picture and level == TRAINED:
            save(denoised(noisy, made[list(made)[-1]], clean, "HW", 10), found.picture)
    print(f"{time.monotonic() - begun:.0f} seconds on {torch.get_num_threads()} thread(s).")
    if found.json:
        found.json.write_text(json.dumps(everything, indent=2) + "\n")


def as_floats(x: np.ndarray) -> np.ndarray:
    """Bytes as floats in [0, 1]."""
    return x.astype(np.float32) / 255


def flat(x: np.ndarray) -> np.ndarray:
    """Images as rows."""
    return x.reshape(len(x), -1)


def with_noise(x: np.ndarray, level: float) -> np.ndarray:
    """Gaussian noise put on, always the same for as many images."""
    return x + np.float32(level) * np.random.default_rng(0).standard_normal(x.shape, np.float32)


def ratio(x: np.ndarray, clean: np.ndarray) -> float:
    """The mean peak signal-to-noise ratio, dB."""
    return float(np.mean([peak_signal_noise_ratio(b, a, data_range=1) for a, b in zip(x, clean, strict=True)]))


def tuned_pca(pca: PCA, validation: np.ndarray, level: float) -> dict[str, Method]:
    """Projection on as many components as give the best ratio on the validation images."""

    def project(x: np.ndarray, count: int) -> np.ndarray:
        codes = (flat(x) - pca.mean_) @ pca.components_[:count].T
        return (codes @ pca.components_[:count] + pca.mean_).reshape(x.shape).clip(0, 1).astype(np.float32)

    noisy = with_noise(validation, level)
    best = max(COMPONENTS, key=lambda count: ratio(project(noisy, count), validation))
    return {f"PCA, {best} components": lambda x: project(x, best)}


def tuned_means(validation: np.ndarray, level: float) -> dict[str, Method]:
    """Non-local means with the settings that give the best ratio on the validation images."""

    def means(x: np.ndarray, h: float, size: int, distance: int) -> np.ndarray:
        options = {"h": h * level, "patch_size": size, "patch_distance": distance, "sigma": level, "fast_mode": False}
        return np.stack([denoise_nl_means(image, **options) for image in x]).clip(0, 1).astype(np.float32)

    noisy = with_noise(validation, level)
    grid = list(itertools.product((0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6), (3, 5, 7), (5, 9, 13)))
    best = max(grid, key=lambda setting: ratio(means(noisy, *setting), validation))
    name = f"non-local means, h = {best[0]:g} sigma, patches of {best[1]}, distance {best[2]}"
    return {name: lambda x: means(x, *best)}


def judge(x: np.ndarray, clean: np.ndarray) -> dict[str, tuple[float, float]]:
    """PSNR and SSIM: mean over images, and half of its interval."""
    pairs = list(zip(x.astype(np.float32), clean, strict=True))
    values = {
        "psnr": np.array([peak_signal_noise_ratio(b, a, data_range=1) for a, b in pairs]),
        "ssim": np.array([structural_similarity(b, a, data_range=1) for a, b in pairs]),
    }
    chosen = np.random.default_rng(0).integers(0, len(x), (RESAMPLES, len(x)))
    result = {}
    for name, each in values.items():
        low, high = np.quantile(each[chosen].mean(1), (0.025, 0.975))
        result[name] = (float(each.mean()), float((high - low) / 2))
    return result


def show(level: float, rows: dict[str, dict[str, tuple[float, float]]]) -> dict[str, object]:
    """Prints a level's table; gives it back for the JSON."""
    print(f"Gaussian noise of deviation {level:g}\n\n| method | PSNR, dB | SSIM |\n| --- | --- | --- |")
    for name, row in rows.items():
        psnr, ssim = row["psnr"], row["ssim"]
        print(f"| {name} | {psnr[0]:.2f} ± {psnr[1]:.2f} | {ssim[0]:.3f} ± {ssim[1]:.3f} |")
    print(flush=True)
    return rows


if __name__ == "__main__":
    main()
