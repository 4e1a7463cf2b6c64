"""The explorer's page, which lies built in the package, is what its source builds."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="Node.js and npm build the page, and are not here")
def test_the_page_is_what_its_source_builds(tmp_path: Path) -> None:
    """From the lock file: the same bytes as those that are in the package."""
    root = Path(__file__).parent.parent
    shutil.copytree(root / "web", tmp_path / "web", ignore=shutil.ignore_patterns("node_modules"))
    for words in (["npm", "ci", "--no-fund", "--no-audit"], ["npm", "run", "check"]):
        subprocess.run(words, cwd=tmp_path / "web", check=True, capture_output=True)
    subprocess.run(["node", "build.mjs", str(tmp_path / "static")], cwd=tmp_path / "web", check=True)
    for made in sorted((tmp_path / "static").iterdir()):
        kept = root / "src" / "diabolo" / "explorer" / "static" / made.name
        assert made.read_bytes() == kept.read_bytes(), f"{made.name}: run make page"
