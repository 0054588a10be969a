"""What a chain does next, by a table."""

from dataclasses import replace
from pathlib import Path

import pytest

from medsr_lib.series.sessions.actions import FURTHEST, Known, Push, check, next_action, outlook
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous
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
BEFORE = Previous("me/gan-s01", Kind.NOTEBOOKS, replace(STATE, session=1, step=40))
AFTER = Previous("me/gan-s02", Kind.NOTEBOOKS, STATE)
CONTEXT = Context(PLAN, 2, BEFORE, hours=1.0)
STARTED = Known(CONTEXT, "me/gan-s02", Kind.NOTEBOOKS, Path("s02"))
FAILED = replace(STARTED, failure="ERROR: boom")
PINNED = replace(CONTEXT, docker_image="pinned")
DONE = replace(STATE, done=True, step=100)
IDLE = replace(STATE, step=40)


def left(state):
    """Session 2, ended well with such a state."""
    return replace(STARTED, state=state)


TABLE = {
    "a new chain": (None, {}, Push(1)),
    "one that begins elsewhere": (None, {"checkpoint": "x"}, Push(1, checkpoints=Path("x"))),
    "not looked at": (STARTED, {}, None),
    "to be continued": (left(STATE), {}, Push(3, previous=AFTER, image="image")),
    "in the image of the first": (
        replace(left(STATE), context=PINNED),
        {},
        Push(3, previous=AFTER, image="pinned"),
    ),
    "done": (left(DONE), {}, DONE),
    "no more sessions": (left(STATE), {"at_most": 2}, STATE),
    "no step, more hours": (
        left(IDLE),
        {"hours": 2.0},
        Push(3, previous=replace(AFTER, state=IDLE), image="image"),
    ),
    "done without a step": (left(replace(IDLE, done=True)), {}, replace(IDLE, done=True)),
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
    "no step": (left(IDLE), {}, r"session 2 took no step \(it is at step 40 of 100\)"),
    "failed": (
        replace(FAILED, saved=60),
        {},
        r"session 2 \(me/gan-s02\) ended with ERROR: boom; its checkpoint of step 60 was fetched",
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
    return next_action(sessions, **{"at_most": 5, "hours": 1.0} | options)


@pytest.mark.parametrize("name", TABLE)
def test_the_next_action(name):
    last, options, expected = TABLE[name]
    assert action(last, **options) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_on_is_refused(name):
    last, options, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        action(last, **options)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"chain": "other"}, "left the state of"),
        ({"session": 1}, "left the state of"),
        ({"notebook": "02_espcn"}, "left the state of"),
        ({"parameters": {"scale": 4}}, "scale is 2 here and 4 there"),
        ({"step": 30}, "ended with step 30 after step 40"),
        ({"checkpoints": {}}, "x.pt is of another configuration"),
    ],
)
def test_what_a_session_should_not_have_left_is_refused(changed, message):
    check(STARTED, STATE)
    with pytest.raises(ValueError, match=message):
        check(STARTED, replace(STATE, **changed))


def test_the_outlook():
    line = "session 2, 80 of 100 steps: to be continued; at this speed about 2 more of 0.5 h, "
    assert outlook(STATE, 0.5) == line + "1.0 h in all"
    assert outlook(replace(STATE, step=100, done=True), 1.0).endswith("done, after 4.0 h")
