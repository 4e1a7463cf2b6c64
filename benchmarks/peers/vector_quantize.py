"""vector-quantize-pytorch: its quantiser and ours, in one process, each a step in turn."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time
from collections.abc import Callable

import torch
from vector_quantize_pytorch import VectorQuantize

from diabolo.models.objectives._quantise import Codebooks, Nearest

DECAY, COMMITMENT, WARM = 0.99, 0.25, 5


def main() -> None:
    """Prints a line of JSON: seconds of a step of either for each size, (examples, positions, numbers, entries)."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(job["threads"])
    torch.manual_seed(0)
    found = [{"size": size, **timed(job["turns"], *size)} for size in job["sizes"]]
    print(json.dumps({"version": importlib.metadata.version("vector-quantize-pytorch"), "rows": found}))


def timed(turns: int, examples: int, positions: int, numbers: int, entries: int) -> dict[str, list[float]]:
    """Forward, backward and the entries' running averages, of both."""
    x, generator = torch.randn(examples, positions, numbers), torch.Generator().manual_seed(0)
    peer = VectorQuantize(numbers, entries, decay=DECAY, commitment_weight=COMMITMENT, threshold_ema_dead_code=0)
    own = Codebooks(1, entries, numbers, DECAY, 0.0)

    def theirs() -> None:
        code, _, loss = peer(x.clone().requires_grad_())
        (code.sum() + loss.sum()).backward()

    def ours() -> None:
        code = Nearest(x.transpose(1, 2).reshape(examples, -1).requires_grad_(), own.books, positions)
        (code.mean.sum() + COMMITMENT * own.terms(code)["commitment"].mean()).backward()
        with torch.no_grad():
            own.update(own.statistics(code), generator)

    pairs = [(clocked(ours), clocked(theirs)) for _ in range(WARM + turns)][WARM:]
    return {"ours": [one for one, _ in pairs], "theirs": [other for _, other in pairs]}


def clocked(call: Callable[[], None]) -> float:
    """Seconds of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
