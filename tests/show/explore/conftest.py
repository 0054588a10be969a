import numpy as np
import pytest
import torch

from medsr_lib.case import Case


@pytest.fixture
def bare():
    """Three cases without a mask, such as radiographs."""
    generator = torch.Generator().manual_seed(0)
    return [
        Case(f"IM-{n}", f"IM-{n}", label, torch.rand(64, 64, generator=generator))
        for n, label in enumerate(["NORMAL", "PNEUMONIA", "NORMAL"])
    ]


@pytest.fixture
def pictures(index, image, mask):
    """The cases of `index` and of `scores`, each with an image of its own."""
    return [
        Case(of.id, of.patient, of.label, torch.tensor(np.roll(image, n, 0)), torch.tensor(mask))
        for n, of in enumerate(index.itertuples())
    ]


def event(kind, x, y, *, of, buttons=0, when=0.0):
    """An event over a picture that is shown in its own size at (30, 40) of the page."""
    height, width = of.pixels.shape[:2]
    return {
        "type": kind, "clientX": x + 30, "clientY": y + 40, "buttons": buttons, "timeStamp": when,
        "boundingRectLeft": 30, "boundingRectTop": 40, "boundingRectWidth": width,
        "boundingRectHeight": height,
    }  # fmt: skip


@pytest.fixture
def send():
    """`send(explorer, "mousemove", x, y, buttons=1, when=0)`: an event as ipyevents sends it."""
    return lambda of, kind, x, y, **rest: of.mouse._dom_handlers(event(kind, x, y, of=of, **rest))


@pytest.fixture
def hand(send):
    """`hand(explorer, "click", (x, y), ...)`: what a hand does with the mouse."""
    clock = iter(range(10**9, 2 * 10**9, 10**6))  # ms: no two moves are near each other

    def do(of, kind, *places):
        if kind in ("click", "drag"):
            send(of, "mousedown", *places[0], buttons=1, when=next(clock))
            for place in places[1:]:
                send(of, "mousemove", *place, buttons=1, when=next(clock))
            kind = "click"
        send(of, kind, *places[-1], when=next(clock))

    return do
