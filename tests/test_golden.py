"""Structure may change, numbers may not: each variant gives what `golden/golden.json` says.

Bit for bit on the processor and with the versions that wrote it; nearly so on any other, since sums are rounded in
another order there, and 20 steps of training let that grow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden import freeze

GOLDEN: dict[str, Any] = json.loads(Path(freeze.PATH).read_text())
EXACT = GOLDEN["machine"] == freeze.machine()
NEARLY = {"float32": 2e-2, "bf16": 0.2}  # of a value's norm, and of its mean beside the norm


def differences(case: tuple[str, ...], *, compiled: bool = False) -> list[str]:
    expected = GOLDEN["numbers"][freeze.name_of(case, compiled=compiled)]
    received = freeze.measure(*case, compiled=compiled)
    assert expected.keys() == received.keys()
    if EXACT:
        return [name for name, value in received.items() if value != expected[name]]
    near = NEARLY[case[3]]
    return [
        f"{name}: {received[name]} and not {expected[name]}"
        for name in expected
        if not np.allclose(
            received[name][1:3], expected[name][1:3], rtol=near, atol=near * max(1.0, abs(expected[name][1]))
        )
    ]


@pytest.mark.parametrize("case", list(freeze.cases(compiled=False)), ids="-".join)
def test_nothing_has_moved(case):
    assert differences(case) == []


@pytest.mark.slow
@pytest.mark.parametrize("case", list(freeze.cases(compiled=True)), ids="-".join)
def test_nothing_has_moved_in_compiled_steps(case):
    assert differences(case, compiled=True) == []
