"""The order of training on data that is read from the disk: mixed, repeated by seed, resumed, shared, read ahead."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

import diabolo
from diabolo.datasets import Shuffled, Store, open_dataset
from diabolo.errors import DataError
from diabolo.runs.config import make_run_config
from diabolo.runs.resuming import resume
from diabolo.runs.run import start
from diabolo.training import Callback, Interrupted
from diabolo.training.batches import Batches
from diabolo.training.settings import Settings

N = 4000
X = (np.arange(N)[:, None] // [1, 256] % 256).astype(np.uint8)  # an example says its own number


class Numbers(Store):
    """X without a file; counts what is read, and fails where it is told to."""

    def __init__(self, block=25):
        super().__init__(X.shape, np.uint8, np.append(np.arange(0, N, block), N), "numbers")
        self.read, self.broken, self.slow = [], None, 0.0
        self.buffer = 2 * 800

    def _take(self, indices, out):
        time.sleep(self.slow)
        if self.broken is not None and self.broken in indices:
            raise DataError(f"{self.where(self.broken)} is missing.")
        self.read.append(indices.copy())
        out[...] = X[indices]

    def where(self, index):
        return f"Example {index} (shard-{index // 1000}.tar)"


def numbers(batches):
    arrays = (np.asarray(getattr(batch, "x", batch)) for batch in batches)
    return [batch[:, 0].astype(int) + 256 * batch[:, 1].astype(int) for batch in arrays]


def shuffled(store=None, indices=None, batch_size=64, **options):
    store = store or Numbers()
    return Shuffled(store, np.arange(N) if indices is None else indices, batch_size=batch_size, **options)


def wait_until(condition, seconds=300):
    """Waits for threads; gives up late, since a busy machine may hold them back for long."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def readers():
    return [one for one in threading.enumerate() if one.name.startswith("diabolo-read")]


@pytest.mark.parametrize("batch_size", [1, 64, 100, 4000, 9999])
def test_an_epoch_holds_every_chosen_example_once(batch_size):
    if batch_size == 1:
        chosen = np.sort(np.random.default_rng(1).choice(N, 300, replace=False))
    else:
        chosen = np.flatnonzero(np.arange(N) % 7 > 1)
    order = shuffled(indices=chosen, batch_size=batch_size)
    batches = numbers(order.batches(0))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (order.count - 1)
    assert sorted(np.concatenate(batches).tolist()) == chosen.tolist()
    np.testing.assert_array_equal(np.concatenate(batches), np.concatenate(list(order.order(0))))


def test_the_order_is_that_of_the_seed_and_the_epoch():
    def drawn(seed, epoch, workers=1):
        store = Numbers()
        store.workers = workers
        return np.concatenate(numbers(shuffled(store, seed=seed).batches(epoch)))

    np.testing.assert_array_equal(drawn(1, 2), drawn(1, 2))
    np.testing.assert_array_equal(drawn(1, 2), drawn(1, 2, workers=5))
    assert (drawn(1, 2) != drawn(1, 3)).mean() > 0.99
    assert (drawn(1, 2) != drawn(2, 2)).mean() > 0.99
    state = np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()  # noqa: NPY002
    drawn(1, 2)
    assert (np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()) == state  # noqa: NPY002


@pytest.mark.parametrize("skip", [0, 1, 13, 40, 62, 63])
def test_what_is_skipped_is_not_read(skip):
    store = Numbers()
    order = shuffled(store)
    whole = numbers(order.batches(5))
    store.read.clear()
    rest = numbers(order.batches(5, skip))
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[skip:]]
    assert sum(map(len, store.read)) == N - 64 * skip if skip < 63 else sum(map(len, store.read)) == 0 or skip == 63
    read = np.concatenate(store.read) if store.read else np.empty(0)
    assert sorted(read.tolist()) == sorted(np.concatenate([*rest, np.empty(0, int)]).tolist())


@pytest.mark.parametrize("ranks", [2, 3, 5])
@pytest.mark.parametrize("batch_size", [64, 97, 4])
def test_ranks_share_the_batches_that_one_would_see(ranks, batch_size):
    chosen = np.arange(0, N, 3)
    alone = numbers(shuffled(indices=chosen, batch_size=batch_size, seed=4).batches(1, 3))
    stores = [Numbers() for _ in range(ranks)]
    shares = [
        numbers(shuffled(store, chosen, batch_size, seed=4, rank=rank, ranks=ranks).batches(1, 3))
        for rank, store in enumerate(stores)
    ]
    for number, batch in enumerate(alone):
        parts = [share[number] for share in shares]
        np.testing.assert_array_equal(np.concatenate(parts), batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    read = [sum(map(len, store.read)) for store in stores]
    assert sum(read) == sum(map(len, alone)), "each reads its own and nothing else"


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize(("examples", "count"), [(4000, 62), (3968, 62), (65, 1), (64, 1), (40, 1)])
@pytest.mark.parametrize("kind", ["store", "array", "map"])
def test_the_last_batch_is_left_out_where_it_is_smaller(kind, examples, count, ranks, tmp_path):
    """40 examples in batches of 64 are one batch of 40."""
    store = Numbers()
    x = {"store": store, "array": X.copy(), "map": np.memmap(tmp_path / "x", np.uint8, "w+", shape=X.shape)}[kind]
    if kind == "map":
        x[:] = X
    indices, device = np.arange(examples), torch.device("cpu")
    all_of, rest = (Settings(batch_size=64, seed=3, drop_last=drop_last) for drop_last in (False, True))
    before = numbers(Batches(x, indices, all_of, device).epoch(2, 0))
    store.read.clear()
    shares = [Batches(x, indices, rest, device, rank, ranks) for rank in range(ranks)]
    assert {share.count for share in shares} == {count}
    parts = [numbers(share.epoch(2, 0)) for share in shares]
    assert [len(share) for share in parts] == [count] * ranks
    for number, batch in enumerate(before[:count]):
        np.testing.assert_array_equal(np.concatenate([share[number] for share in parts]), batch)
    if kind == "store":
        assert sum(map(len, store.read)) == min(64 * count, examples), "what is left out is not read either"


def test_other_examples_are_left_out_in_each_epoch():
    settings = Settings(batch_size=1000, drop_last=True)
    batches = Batches(X.copy(), np.arange(3500), settings, torch.device("cpu"))
    seen = [set(np.concatenate(numbers(batches.epoch(epoch, 0))).tolist()) for epoch in (0, 1)]
    assert [len(one) for one in seen] == [3000, 3000]
    assert len(seen[0] | seen[1]) > 3300


def test_training_counts_the_steps_that_it_takes(tmp_path):
    x = np.random.default_rng(0).random((50, 4)).astype(np.float32)
    options = {"epochs": 3, "batch_size": 16, "validation": 0, "test": 0, "keep": "last", "schedule": "cosine"}
    for drop_last, steps in ((False, 12), (True, 9)):
        run = start(make_run_config(x, latent_dim=2, drop_last=drop_last, **options))
        run.go()
        assert (run.training.steps, run.training.steps_per_epoch) == (steps, steps // 3)
        assert run.training.history.epochs[-1]["step"] == steps


def test_a_last_batch_smaller_than_the_ranks_is_empty_for_some():
    indices = np.arange(66)
    last = [list(shuffled(indices=indices, rank=rank, ranks=4).batches(0))[-1] for rank in range(4)]
    assert sorted(map(len, last)) == [0, 0, 1, 1]
    assert all(batch.shape[1:] == (2,) for batch in last)


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize("ranks", [2, 3])
def test_batches_of_ranks(on_disk, ranks):
    x = Numbers() if on_disk else X.copy()
    indices, settings, cpu = np.arange(0, N, 2), Settings(batch_size=50, seed=3), torch.device("cpu")
    alone = Batches(x, indices, settings, cpu)
    assert alone.count == 40
    shares = [Batches(x, indices, settings, cpu, rank, ranks).epoch(2, 7) for rank in range(ranks)]
    for batch, *parts in zip(alone.epoch(2, 7), *shares, strict=True):
        assert torch.equal(batch.x, torch.cat([part.x for part in parts]))


def test_in_memory_the_order_is_the_permutation_of_all():
    settings = Settings(batch_size=64, seed=5)
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(5 * 1_000_003 + 2)).numpy()
    batches = Batches(X[:3000].copy(), np.arange(3000), settings, torch.device("cpu")).epoch(2, 0)
    np.testing.assert_array_equal(np.concatenate(numbers(batches)), order)


# --- how well it is mixed -------------------------------------------------------------------------------------------


def test_windows_are_of_one_size_and_mixed():
    order = shuffled()
    windows = list(order.order(0))
    assert 4 <= len(windows) <= 5
    assert max(map(len, windows)) - min(map(len, windows)) <= 2 * 25
    for window in windows:
        assert len(np.unique(window // 25)) == len(window) // 25, "of whole blocks"
        assert abs(np.corrcoef(np.arange(len(window)), window)[0, 1]) < 0.15
    whole = np.concatenate(windows)
    assert abs(np.corrcoef(np.arange(N), whole)[0, 1]) < 0.1


def test_a_buffer_for_all_is_a_full_shuffle():
    store = Numbers()
    store.buffer = X.nbytes
    order = shuffled(store)
    (window,) = order.order(0)
    assert abs(np.corrcoef(np.arange(N), window)[0, 1]) < 0.06
    shares = (window[: N // 50 * 50].reshape(-1, 50) < 400).mean(1)
    assert np.sqrt(((shares - 0.1) ** 2).mean()) == pytest.approx(np.sqrt(0.1 * 0.9 / 50), rel=0.2)


def test_a_window_holds_eight_batches_at_least_and_a_block_may_be_larger_than_it():
    store = Numbers()
    store.buffer = 1
    assert {len(window) for window in shuffled(store).order(0)} <= set(range(500, 601, 25))
    large = Numbers(block=2000)
    large.buffer = 1
    assert [len(window) for window in shuffled(large, batch_size=10).order(0)] == [2000, 2000]
    assert sorted(np.concatenate(numbers(shuffled(large, batch_size=10).batches(0))).tolist()) == list(range(N))


def test_unsorted_indices_are_put_in_order():
    chosen = np.array([5, 3000, 17, 17, 2])
    assert sorted(np.concatenate(numbers(shuffled(indices=chosen).batches(0))).tolist()) == sorted(chosen.tolist())


# --- threads, and what goes wrong in them ---------------------------------------------------------------------------


def test_the_next_window_is_read_while_this_one_is_given_out():
    store = Numbers()
    batches = shuffled(store).batches(0)
    next(batches)
    wait_until(lambda: sum(map(len, store.read)) >= 1500)
    read = sum(map(len, store.read))
    assert 1500 <= read <= 2 * 850, "two windows, and no more than two"
    batches.close()


@pytest.mark.parametrize("how", ["close", "break", "exception", "forgotten"])
def test_no_thread_is_left_when_an_epoch_ends_early(how):
    store = Numbers()
    store.slow = 0.01
    batches = shuffled(store).batches(0)
    if how == "close":
        next(batches)
        batches.close()
        assert not readers()
    elif how == "break":
        for _ in batches:
            break
    elif how == "exception":
        with pytest.raises(KeyboardInterrupt):
            _interrupted(batches)
    else:
        next(batches)  # and is never closed: the threads end with their window
    wait_until(lambda: not readers())
    assert not readers()


def drain(batches, given):
    for batch in batches:
        given.append(batch)


def _interrupted(batches):
    for _ in batches:
        raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 4])
def test_an_error_in_a_thread_is_raised_where_the_batch_was_asked_for(workers):
    store = Numbers()
    store.workers = workers
    order = shuffled(store)
    windows = list(order.order(0))
    store.broken = int(windows[2][0])
    given = []
    with pytest.raises(DataError, match=rf"Example {store.broken} \(shard-"):
        drain(order.batches(0), given)
    assert len(given) == (len(windows[0]) + len(windows[1])) // 64, "what was read before is given out"
    assert not readers()
    store.broken = None
    assert len(numbers(order.batches(0))) == order.count


def test_whatever_fails_in_a_thread_is_not_swallowed():
    class Failing(Numbers):
        def _take(self, indices, out):
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        next(shuffled(Failing()).batches(0))


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pieces(tmp_path, monkeypatch):
    """A folder of four pieces, read in blocks of ten."""
    monkeypatch.setattr("diabolo.datasets._store.BLOCK", 360)
    folder = tmp_path / "pieces"
    folder.mkdir()
    spots = np.random.default_rng(0).integers(0, 256, (1200, 6, 6), dtype=np.uint8)
    for i in range(4):
        np.save(folder / f"{i}.npy", spots[300 * i : 300 * (i + 1)])
    return folder


OPTIONS = {"memory": 0, "buffer": 0.003, "epochs": 2, "batch_size": 10, "latent_dim": 2, "widths": (8,), "seed": 1}


class _At(Callback):
    """Does something at one step."""

    def __init__(self, at, action):
        self.at, self.action = at, action

    def step(self, training, loss):
        if training.steps == self.at:
            self.action(training)


def weights(model):
    return torch.cat([parameter.flatten() for parameter in model.model.parameters()])


@pytest.mark.parametrize("at", [1, 37, 96, 120])
def test_an_interrupted_run_goes_on_with_the_very_next_example(pieces, tmp_path, at):
    whole = diabolo.train(str(pieces), **OPTIONS)
    run = start(make_run_config(str(pieces), **OPTIONS), tmp_path / "run", [_At(at, _ask_to_stop)])
    with pytest.raises(Interrupted):
        run.go()
    again = resume(tmp_path / "run")
    assert (again.training.steps, again.run_config.data["buffer"]) == (at, 0.003)
    assert torch.equal(weights(again.go()), weights(whole))


def _ask_to_stop(_):
    signal.raise_signal(signal.SIGINT)


def test_a_shard_that_goes_missing_and_comes_back(pieces, tmp_path):
    whole = diabolo.train(str(pieces), **OPTIONS)
    kept = (pieces / "2.npy").read_bytes()
    options = {**OPTIONS, "checkpoint_seconds": 1e-9}
    run_config = make_run_config(f"{pieces}/{{0..3}}.npy", **options)
    run = start(run_config, tmp_path / "run", [_At(30, lambda _: (pieces / "2.npy").unlink())])
    with pytest.raises(DataError, match=r"2\.npy is missing.*diabolo resume"):
        run.go()
    assert not readers()
    with pytest.raises(DataError, match=r"1 of the 4 files .* missing: 2\.npy"):
        resume(tmp_path / "run")
    (pieces / "2.npy").write_bytes(kept[:-50])
    with pytest.raises(DataError, match="cut off"):
        resume(tmp_path / "run")
    (pieces / "2.npy").write_bytes(kept)
    again = resume(tmp_path / "run")
    assert 30 <= again.training.steps < 96
    assert torch.equal(weights(again.go()), weights(whole))


def test_other_data_does_not_resume_a_run(pieces, tmp_path):
    run = start(make_run_config(str(pieces), **OPTIONS), tmp_path / "run", [_At(5, _ask_to_stop)])
    with pytest.raises(Interrupted):
        run.go()
    (pieces / "3.npy").unlink()
    with pytest.raises(DataError, match="is not the data that"):
        resume(tmp_path / "run")


def test_a_trained_model_of_data_on_the_disk(pieces):
    made = diabolo.train(str(pieces), **OPTIONS)
    opened = open_dataset(pieces)
    assert made.info["data"]["examples"] == {"train": 960, "validation": 120, "test": 120}
    assert made.encode(opened.x[:5]).shape == (5, 2)
    assert made.statistics is not None


KILLED = """
import os, signal, sys
from diabolo.datasets import _store
from diabolo.runs.config import make_run_config
from diabolo.runs.run import start
from diabolo.training import Callback
_store.BLOCK = 360
class Kill(Callback):
    def step(self, training, loss):
        if training.steps == 130:
            os.kill(os.getpid(), signal.SIGKILL)
options = {"memory": 0, "buffer": 0.003, "epochs": 2, "batch_size": 10, "latent_dim": 2, "widths": (8,), "seed": 1}
start(make_run_config(sys.argv[1], checkpoint_seconds=1e-9, **options), sys.argv[2], [Kill()]).go()
"""


@pytest.mark.slow
def test_a_process_that_was_killed_while_it_read(pieces, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(pieces), str(tmp_path / "run")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = resume(tmp_path / "run")
    assert again.training.steps == 129
    assert torch.equal(weights(again.go()), weights(diabolo.train(str(pieces), **OPTIONS)))
