"""Threads leave processors to others, and come back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from diabolo.errors import ConfigError
from diabolo.training.speed import threads
from diabolo.training.speed.threads import Threads, busy_seconds

STAT = """cpu  100 0 100 800 0 0 0 0 0 0
cpu0 10 20 30 400 5 1 2 3 0 0
cpu1 100 0 0 400 0 0 0 50 0 0
intr 12345
"""


@pytest.fixture
def clock(monkeypatch):
    """Time that stands still until it is told to go on: the clock, this process, all processes."""
    now = {"wall": 0.0, "own": 0.0, "all": 0.0}
    monkeypatch.setattr(threads.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(threads.time, "process_time", lambda: now["own"])
    monkeypatch.setattr(threads, "processors", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    chosen: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    now["chosen"] = chosen
    return now


def pass_time(clock, own: float, others: float, seconds: float = 0.5) -> None:
    clock["wall"] += seconds
    clock["own"] += own * seconds
    clock["all"] += (own + others) * seconds


def test_busy_seconds_are_those_of_the_processors_that_count():
    ticks = os.sysconf("SC_CLK_TCK")
    assert busy_seconds(STAT, {0}) == pytest.approx((10 + 20 + 30 + 1 + 2 + 3) / ticks)
    assert busy_seconds(STAT, {0, 1}) == pytest.approx((66 + 150) / ticks)


def test_a_quota_counts_as_so_many_processors(monkeypatch, tmp_path):
    bound = len(os.sched_getaffinity(0))
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(threads, "_QUOTA", quota)
    for text, expected in (("max 100000", bound), ("100000 100000", 1), ("1000 100000", 1), ("9900000 100000", bound)):
        quota.write_text(text)
        assert threads.processors() == expected


def test_threads_leave_at_once_and_come_back_when_it_stays_calm(clock):
    with Threads(busy=lambda: clock["all"]) as team:
        assert clock["chosen"] == [4]
        pass_time(clock, own=3.0, others=1.0)
        assert team.look()
        assert team.now == 3
        pass_time(clock, own=1.5, others=2.5)
        assert team.look()
        assert team.now == 1
        pass_time(clock, own=1.0, others=0.1)
        assert not team.look()
        pass_time(clock, own=1.0, others=2.8)
        assert not team.look()  # a moment's rest is not enough
        pass_time(clock, own=1.0, others=0.1)
        assert not team.look()
        pass_time(clock, own=1.0, others=0.1)
        assert team.look()
        assert team.now == 4
    assert clock["chosen"] == [4, 3, 1, 4, 4]


def test_a_pause_says_nothing(clock):
    team = Threads(busy=lambda: clock["all"])
    pass_time(clock, own=4.0, others=0.0, seconds=0.3)
    with team.aside():
        pass_time(clock, own=0.0, others=4.0, seconds=9.0)
    pass_time(clock, own=4.0, others=0.0, seconds=0.3)
    assert not team.look()
    pass_time(clock, own=3.0, others=1.0)
    assert team.look()  # and after it, it looks as before
    assert team.now == 3


def test_a_little_of_others_is_let_pass(clock):
    team = Threads(busy=lambda: clock["all"])
    pass_time(clock, own=4.0, others=0.3)
    assert not team.look()
    assert team.now == 4


def test_it_looks_twice_a_second(clock):
    team = Threads(busy=lambda: clock["all"])
    pass_time(clock, own=2.0, others=2.0, seconds=0.4)
    assert not team.look()
    pass_time(clock, own=2.0, others=2.0, seconds=0.2)
    assert team.look()


def test_a_number_that_was_asked_for_stays(clock):
    team = Threads(2, busy=lambda: clock["all"])
    pass_time(clock, own=1.0, others=3.0)
    assert not team.look()
    assert team.now == 2


def test_what_is_too_small_is_zero_to_every_thread_while_it_lasts():
    tiny = torch.full((1 << 20,), threads.TINY)  # so many that each thread gets some
    whole = int((tiny * 1 != 0).sum())
    with Threads(count=2):
        assert int((tiny * 1 != 0).sum()) == 0
    with Threads(count=2):
        threads.flush(False, 2)
        assert int((tiny * 1 != 0).sum()) == len(tiny)  # each thread can be asked
    assert whole == len(tiny)
    assert int((tiny * 1 != 0).sum()) == len(tiny)


def test_a_thread_that_was_put_aside_is_asked_too():
    tiny, before = torch.full((1 << 20,), threads.TINY), torch.get_num_threads()
    with Threads(count=2):
        torch.set_num_threads(1)  # somebody else needs a processor when training ends
    try:
        torch.set_num_threads(2)
        assert int((tiny * 1 != 0).sum()) == len(tiny)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it limits the memory of a process of its own")
def test_more_threads_than_the_system_starts_are_refused():
    import resource

    child = os.fork()
    if not child:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + 200 * 2**20, resource.RLIM_INFINITY))
        try:
            Threads(1000)
        except ConfigError as error:
            os._exit(7 if "as many as the system can start" in str(error) else 8)
        finally:
            os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert Threads(threads.processors() + 1).most == threads.processors() + 1
