"""How many images a second each variant learns from, beside pythae's model of that name.

    python benchmarks/zoo_peers.py [--rounds 3] [--threads 1] [--update]

The same network (784 - relu 512 - code of 16 numbers, and back), images of 28 x 28 made up by chance, batches of 128,
float32, Adam. Ours is `diabolo.train`, timed from callback to callback; theirs a loop of loss, backward and step, which
is what pythae's trainer does besides its bookkeeping. Both take turns, a round of all variants each; the ratio is the
median over rounds. FactorVAE and the adversarial one have two optimizers there, and are left out. pythae lives in
benchmarks/.envs. --update writes the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

from kept import written
from timing.environments import PEERS, interpreter
from zoo_speed import BATCH, TIMED, WARM, pictures, step_of

ROWS: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {  # pythae's model, its settings, ours and their settings
    "AE": ({}, "autoencoder", {}),
    "VAE": ({}, "vae", {}),
    "BetaVAE": ({"beta": 4.0}, "vae", {"beta": 4.0}),
    "DisentangledBetaVAE": ({"beta": 10.0, "C": 12.0}, "capacity", {"gamma": 10.0, "capacity": 12.0}),
    "BetaTCVAE": ({"beta": 6.0}, "tc", {"beta": 6.0}),
    "IWAE": ({"number_samples": 5}, "iwae", {"draws": 5}),
    "INFOVAE_MMD": ({"alpha": 0.5, "lbd": 10.0}, "infovae", {"alpha": 0.5, "strength": 10.0}),
    "WAE_MMD": ({"reg_weight": 5.0}, "wae", {"weight": 5.0}),
    "VAMP": ({"number_components": 128}, "vamp", {"components": 128}),
    "VQVAE": ({"num_embeddings": 512}, "vq", {"codes": 512, "positions": 1}),
}


def main() -> None:
    """Times both in turns, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--update", action="store_true", help="write the table into docs/benchmarks.md")
    found = parser.parse_args()
    data = pictures()
    job = {"threads": found.threads, "batch": BATCH, "warm": WARM, "timed": TIMED}
    job["models"] = {name: settings for name, (settings, _, _) in ROWS.items()}
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    for _ in range(found.rounds):
        ours.append({})
        for name, (_, variant, options) in ROWS.items():
            ours[-1][name] = step_of(variant, data, "off", found.threads, widths=(512,), **options)
        command = [str(interpreter("pythae")), str(PEERS / "steps_of_pythae.py"), json.dumps(job)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 (our own words)
        theirs.append({name: 1e3 * one for name, one in json.loads(said.splitlines()[-1]).items()})
    table = ["| pythae | here | its images a second | ours | ratio |", "| --- | --- | ---: | ---: | ---: |"]
    for name, (_, variant, _) in ROWS.items():
        other, own = (statistics.median(turn[name] for turn in turns) for turns in (theirs, ours))
        ratio = statistics.median(one[name] / two[name] for one, two in zip(theirs, ours, strict=True))
        table.append(
            f"| `{name}` | `{variant}` | {1e3 * BATCH / other:,.0f} | {1e3 * BATCH / own:,.0f} | {ratio:.1f} |"
        )
    print("\n".join(table))
    if found.update:
        written("zoo-peers", "\n".join(table), Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md")


if __name__ == "__main__":
    main()
