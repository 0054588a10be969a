from types import SimpleNamespace

import pytest


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still but for `clock.slow(function)`, which takes a second a call."""
    fake = SimpleNamespace(now=0.0)

    def slow(function):
        def slowed(*args):
            fake.now += 1.0
            return function(*args)

        slowed.__module__, slowed.__qualname__ = function.__module__, function.__qualname__
        return slowed

    fake.slow = slow
    clock = "medsr_lib.restore.training.clock"
    monkeypatch.setattr(f"{clock}.time", SimpleNamespace(monotonic=lambda: fake.now))
    monkeypatch.setattr(f"{clock}.session_age", lambda: 0.0)
    return fake
