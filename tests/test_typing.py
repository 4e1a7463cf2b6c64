"""A user's type checker sees the real signatures of the public names, and names that are not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

SCRIPT = """
import numpy as np

import diabolo
from diabolo.callbacks import ProgressBar
from diabolo.models import MLP
from diabolo.storage import read_json

model: diabolo.Autoencoder = diabolo.train(np.zeros((9, 4)), model="vae", latent_dim=2, callbacks=[ProgressBar()])
codes: np.ndarray = model.encode(np.zeros((9, 4)))
again: diabolo.Autoencoder = diabolo.load("run", engine="torch", precision="bf16")
mse = diabolo.evaluate(model).get("mse")
table: str = diabolo.compare([model, again]).table()
run: diabolo.Autoencoder = diabolo.resume("run").go()
data: diabolo.Dataset = diabolo.open_dataset("digits")
url: str = diabolo.explore(model).url
settings = diabolo.Settings(epochs=3, engine="fused")
network = MLP(widths=(4,))

diabolo.train(latent_dim="two")  # expect: Argument "latent_dim" to "train" has incompatible type
diabolo.load("run", engine="turbo")  # expect: Argument "engine" has incompatible type
diabolo.evaluate(3)  # expect: Argument 1 to "evaluate" has incompatible type
diabolo.Settings(epoch=3)  # expect: Unexpected keyword argument "epoch" for "Settings"
diabolo.nothing  # expect: Module has no attribute "nothing"
model.nothing  # expect: "Autoencoder" has no attribute "nothing"
"""


@pytest.mark.slow
def test_mypy_sees_what_is_public_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    script = tmp_path / "user.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-warn-unused-configs", str(script)]
    output = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=550).stdout
    errors = {int(line.split(":")[1]): line for line in output.splitlines() if ": error:" in line and "user.py" in line}
    expected = {
        number: line.partition("# expect: ")[2]
        for number, line in enumerate(SCRIPT.splitlines(), 1)
        if "# expect: " in line
    }
    assert errors.keys() == expected.keys(), output
    for number, text in expected.items():
        assert text in errors[number]
