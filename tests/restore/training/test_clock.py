import math
import os
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from medsr_lib.restore.training import clock
from medsr_lib.restore.training.clock import Clock


@pytest.fixture
def now(monkeypatch):
    """A clock of the computer that stands still, and a session that has just begun."""
    fake = SimpleNamespace(at=100.0)
    still = SimpleNamespace(monotonic=lambda: fake.at, time=lambda: 5000.0)
    monkeypatch.setattr(clock, "time", still)
    monkeypatch.setattr(clock, "started", lambda: 5000.0)
    return fake


def spend(timer, now, what, seconds):
    with timer.measure(what):
        now.at += seconds


def test_a_session_begins_with_the_process():
    assert clock.started() == psutil.Process(os.getpid()).create_time()
    assert clock.session_age() == pytest.approx(time.time() - clock.started(), abs=1.0)


def test_without_psutil_a_session_begins_with_the_import(monkeypatch):
    began = psutil.Process().create_time()
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert began < clock.started() < time.time()


def test_a_session_that_has_yet_to_begin_has_no_age(monkeypatch):
    monkeypatch.setattr(clock, "started", lambda: time.time() + 60)
    assert clock.session_age() == 0


def test_what_came_before_the_clock_is_used_up(monkeypatch):
    monkeypatch.setattr(clock, "started", lambda: time.time() - 7200)
    assert Clock(3.0).limit == pytest.approx(3600, abs=1.0)
    assert not Clock(1.9).has_time_left()


def test_the_reserve_is_kept(now):
    timer = Clock(1.0, reserve=600)
    now.at += 2999
    assert timer.has_time_left()
    now.at += 1
    assert not timer.has_time_left()


def test_a_reserve_beyond_the_hours_leaves_no_time(now):
    assert not Clock(0.1, reserve=360).has_time_left()


def test_without_a_limit_there_is_always_time(now):
    timer = Clock(None, reserve=600)
    now.at += 1e9
    assert timer.has_time_left()
    assert timer.limit == math.inf


@pytest.mark.parametrize("hours", [0, -1, float("nan")])
def test_refuses_hours_that_are_not_positive(hours):
    with pytest.raises(ValueError, match=f"hours must be positive, or None .* got {hours}"):
        Clock(hours)


def test_keeps_time_for_the_longest_step_validation_and_save(now):
    timer = Clock(100 / 3600)
    for what, seconds in (("step", 5), ("step", 1), ("validate", 20), ("save", 10), ("save", 2)):
        spend(timer, now, what, seconds)
    now.at += 26.5  # 64.5 of 100 s are over: 5 + 20 + 10 fit in
    assert timer.has_time_left()
    now.at += 0.5
    assert not timer.has_time_left()


def test_the_share_of_the_time_that_something_took(now):
    timer = Clock(None)
    spend(timer, now, "step", 3)
    spend(timer, now, "save", 1)
    assert (timer.share("step"), timer.share("save"), timer.share("validate")) == (0.75, 0.25, 0)


def test_due_once_every_so_many_seconds(now):
    timer, due = Clock(None), []
    for _ in range(7):
        due.append(timer.is_due("save", 2.0))
        now.at += 1
    assert due == [False, False, True, False, True, False, True]
