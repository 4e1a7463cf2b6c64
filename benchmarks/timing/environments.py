"""An environment for each peer, with the versions that are pinned beside its script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["FOLDER", "PEERS", "interpreter"]

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / "peers"
FOLDER = ROOT / ".envs"


def interpreter(name: str) -> Path:
    """The Python of a peer's environment, which is made where it is missing or where its pinned versions changed.

    Torch comes first and alone, so that pip takes the build that its configuration prefers (CPU or CUDA).

    Raises:
        SystemExit: pip failed; its last lines are said.
    """
    wanted = (PEERS / f"{name}.txt").read_text()
    place = FOLDER / name
    python, stamp = place / "bin" / "python", place / "made-from.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"Making the environment {name} in {place}", file=sys.stderr, flush=True)
    _call([sys.executable, "-m", "venv", "--clear", str(place)], name)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    torch = [line for line in wanted.split() if line.startswith("torch==")]
    if torch:
        _call([*install, *torch], name)
    _call([*install, "--requirement", str(PEERS / f"{name}.txt")], name)
    stamp.write_text(wanted)
    return python


def _call(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own words)
    if done.returncode:
        said = "\n".join(done.stderr.strip().splitlines()[-12:])
        raise SystemExit(f"The environment {name} could not be made: {' '.join(command)}\n{said}")
