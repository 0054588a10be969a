"""What a chain does next, by a table."""

from dataclasses import replace
from pathlib import Path

import pytest

from medsr_lib.series.sessions.actions import (
    FURTHEST,
    Finish,
    Known,
    Look,
    Push,
    Refuse,
    Status,
    next_action,
    outlook,
)
from medsr_lib.series.sessions.context import Context, Kind, Previous
from medsr_lib.series.sessions.plan import Plan
from medsr_lib.series.sessions.state import State

PLAN = Plan("abc", "03_srgan", {"scale": 2}, kernel="me/gan")
STATE = State(
    notebook="03_srgan",
    chain="abc",
    session=2,
    done=False,
    step=80,
    steps=100,
    fingerprint="f80",
    files={"x.pt": {"sha256": "s80", "bytes": 1}},
    checkpoints={"x.pt": {"step": 80, "steps": 100, "configuration": "c"}},
    parameters={"scale": 2},
    docker_image="image",
    hours=2.0,
    hours_before=2.0,
)
BEFORE = Previous("me/gan-s01", Kind.NOTEBOOKS, 1, 40, "f40", {"x.pt": "s40"}, {"x.pt": "c"})
AFTER = Previous("me/gan-s02", Kind.NOTEBOOKS, 2, 80, "f80", {"x.pt": "s80"}, {"x.pt": "c"})
CONTEXT = Context("abc", "03_srgan", {"scale": 2}, 2, BEFORE, hours=1.0)
STARTED = Known(CONTEXT, "me/gan-s02", Kind.NOTEBOOKS, Path("s02"))
COMPLETE = replace(STARTED, status=Status.COMPLETE)
FAILED = replace(STARTED, status=Status.FAILED, why="ERROR: boom")
PINNED = replace(CONTEXT, docker_image="pinned")


def left(**changed):
    """Session 2, ended well with such a state."""
    return replace(COMPLETE, state=replace(STATE, **changed))


TABLE = {
    "a new chain": (None, {}, Push(1)),
    "one that begins elsewhere": (None, {"checkpoint": "x"}, Push(1, checkpoints=Path("x"))),
    "running": (STARTED, {}, Look.WAIT),
    "not fetched": (COMPLETE, {}, Look.FETCH),
    "to be continued": (left(), {}, Push(3, previous=AFTER, image="image")),
    "in the image of the first": (
        replace(left(), context=PINNED),
        {},
        Push(3, previous=AFTER, image="pinned"),
    ),
    "done": (left(done=True, step=100), {}, Finish(replace(STATE, done=True, step=100))),
    "no more sessions": (left(), {"at_most": 2}, Finish(STATE)),
    "no step, more hours": (
        left(step=40),
        {"hours": 2.0},
        Push(3, previous=replace(AFTER, step=40), image="image"),
    ),
    "done without a step": (
        left(step=40, done=True),
        {},
        Finish(replace(STATE, step=40, done=True)),
    ),
    "failed": (FAILED, {}, Look.RESCUE),
    "failed with progress": (
        replace(FAILED, saved=60),
        {"checkpoint": FURTHEST},
        Push(3, checkpoints=Path("s02")),
    ),
    "failed without progress": (
        replace(FAILED, saved=40, context=PINNED),
        {"checkpoint": FURTHEST},
        Push(3, previous=BEFORE, image="pinned"),
    ),
    "failed, another folder": (
        replace(FAILED, saved=0),
        {"checkpoint": "x"},
        Push(3, checkpoints=Path("x")),
    ),
}
REFUSED = {
    "nothing to resume": (None, {"checkpoint": FURTHEST}, "no session yet"),
    "no step": (left(step=40), {}, "session 2 took no step (it is at step 40 of 100)"),
    "another chain": (left(chain="other"), {}, "left the state of"),
    "another session": (left(session=1), {}, "left the state of"),
    "another notebook": (left(notebook="02_espcn"), {}, "left the state of"),
    "other parameters": (left(parameters={"scale": 4}), {}, "scale is 2 here and 4 there"),
    "from zero": (left(step=30), {}, "ended with step 30 after step 40"),
    "another training": (left(checkpoints={}), {}, "x.pt is of another configuration"),
    "failed": (
        replace(FAILED, saved=60),
        {},
        "session 2 (me/gan-s02) ended with ERROR: boom; its checkpoint of step 60 was fetched",
    ),
    "failed with nothing": (replace(FAILED, saved=0), {}, "it left nothing, and it had begun at"),
    "failed as the last": (
        replace(FAILED, saved=60),
        {"checkpoint": FURTHEST, "at_most": 2},
        "was the last of 2; give more --sessions",
    ),
}


def action(last, **options):
    sessions = [] if last is None else [last]
    return next_action(PLAN, sessions, **{"at_most": 5, "hours": 1.0} | options)


@pytest.mark.parametrize("name", TABLE)
def test_the_next_action(name):
    last, options, expected = TABLE[name]
    assert action(last, **options) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_on_is_refused(name):
    last, options, message = REFUSED[name]
    found = action(last, **options)
    assert isinstance(found, Refuse)
    assert message in found.why


def test_an_earlier_session_is_checked_too():
    found = next_action(PLAN, [left(step=30), left()], at_most=5, hours=1.0)
    assert "ended with step 30" in found.why


def test_the_outlook():
    line = "session 2, 80 of 100 steps: to be continued; at this speed about 2 more of 0.5 h, "
    assert outlook(STATE, 0.5) == line + "1.0 h in all"
    assert outlook(replace(STATE, step=100, done=True), 1.0).endswith("done, after 4.0 h")
