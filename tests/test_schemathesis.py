"""Schemathesis against both servers, by their own OpenAPI descriptions; `make slow`, where it is installed.

It wants packages of its own: `DIABOLO_SCHEMATHESIS=/path/to/env/bin/schemathesis`, or `schemathesis` on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import diabolo

TOKEN = "a-token-of-ours"
SECONDS = 120  # for each server
# What is valid by the description may still be refused: shapes and labels depend on the model.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,negative_data_rejection,ignored_auth"
)


@pytest.fixture(scope="module")
def program() -> str:
    found = os.environ.get("DIABOLO_SCHEMATHESIS") or shutil.which("schemathesis")
    if not found:
        pytest.skip("schemathesis: install it in an environment of its own, and name it in DIABOLO_SCHEMATHESIS")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("uvicorn")
    folder = tmp_path_factory.mktemp("servers")
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    np.save(folder / "x.npy", x)
    options = {"layout": "HW", "model": "vae", "latent_dim": 2, "widths": (8,), "epochs": 1}
    model = diabolo.train(x, out=folder / "run", **options)
    model.learn_concept("odd", x, np.arange(60) % 2, positive=1)
    model.fit_prior("gaussian", x)
    model.save(folder / "run")
    return folder


@pytest.fixture
def serve(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts a server, and gives its address."""
    servers = []

    def start(*words: str) -> str:
        command = [sys.executable, "-m", "diabolo", *words, "--port", "0", "--token", TOKEN]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, text=True)
        servers.append(server)
        assert server.stdout is not None
        line = next(line for line in server.stdout if "http://" in line)
        return "http://" + line.split("http://")[1].split("/")[0].strip()

    yield start
    for server in servers:
        server.terminate()
        server.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["serve run", "explore run x.npy --no-browser"])
def test_both_servers(words: str, serve: Callable[..., str], program: str, tmp_path: Path) -> None:
    address = serve(*words.split())
    header = f"Authorization: Bearer {TOKEN}"
    options = f"--seed 19 -n 100 --max-time {SECONDS} --request-timeout 30 --checks {CHECKS}".split()
    quiet = ["--continue-on-failure", "--no-color", "--generation-database", "none", "--no-shrink"]
    command = [program, "run", f"{address}/openapi.json", "-H", header, *options, *quiet]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=5 * SECONDS)
    print(*[line for line in done.stdout.splitlines() if "generated" in line or "failures" in line], sep="\n")  # noqa: T201
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    time.sleep(1)
    request = urllib.request.Request(f"{address}/api/model", headers={"Authorization": f"Bearer {TOKEN}"})
    assert urllib.request.urlopen(request, timeout=30).status == 200
