"""The mouse over a picture: where it points, clicks and drags, in the picture's own pixels.

The package ipyevents brings it from the browser. Where that is missing, the controls, which do the
same by keyboard, are all there is.
"""

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medsr_lib.show.explore.base import Explorer

WAIT = 50
"""Milliseconds between two moves that are sent."""
STILL = 4
"""Pixels that a hand moves the mouse while it only clicks."""


def watch(explorer: "Explorer") -> Any:
    """Tell an explorer what the mouse does over its screen; None where ipyevents is missing."""
    try:
        from ipyevents import Event  # type: ignore[import-untyped]
    except ImportError:
        return None
    watched = ["mousedown", "mousemove", "click", "mouseleave"]
    events = Event(source=explorer.screen, watched_events=watched, wait=WAIT)
    events.prevent_default_action = True  # a browser would drag the picture itself away
    events.on_dom_event(Mouse(explorer))
    return events


def place(event: dict[str, Any], width: int, height: int) -> tuple[int, int]:
    """Column and row of the pixel under the mouse, of a picture that lies in the middle of its
    rectangle on the page, as large as fits; beyond its ends where the mouse is not on it.
    """
    wide, high = event["boundingRectWidth"], event["boundingRectHeight"]
    factor = min(wide / width, high / height) or 1.0
    x = event["clientX"] - event["boundingRectLeft"] - (wide - factor * width) / 2
    y = event["clientY"] - event["boundingRectTop"] - (high - factor * height) / 2
    return math.floor(x / factor), math.floor(y / factor)


class Mouse:
    """Calls `hover`, `drag`, `click` and `leave` of an explorer for the browser's events.

    A move that was made while the former was still being answered is skipped: none queue up.
    """

    def __init__(self, explorer: "Explorer") -> None:
        self.explorer = explorer
        self.down: tuple[int, int] | None = None
        self.dragged = False
        self.busy_until = -math.inf  # in the milliseconds of the browser

    def __call__(self, event: dict[str, Any]) -> None:
        """Answer an event as ipyevents tells it."""
        kind, when = event["type"], float(event["timeStamp"])
        if self.explorer.refused or (kind == "mousemove" and when < self.busy_until):
            return
        start = perf_counter()
        with self.explorer.guarded():
            self._answer(kind, event)
        self.busy_until = when + 1000 * (perf_counter() - start)

    def _answer(self, kind: str, event: dict[str, Any]) -> None:
        height, width = self.explorer.pixels.shape[:2]
        x, y = place(event, width, height)
        last = kind == "click"
        if kind == "mouseleave":
            self.down = None
            self.explorer.leave()
        elif kind == "mousedown":
            self.down, self.dragged = (x, y), False
        elif self.down is None or not (last or event["buttons"] & 1):
            self.down = None
            (self.explorer.click if last else self.explorer.hover)(x, y)
        else:
            dx, dy = x - self.down[0], y - self.down[1]
            self.dragged = self.dragged or max(abs(dx), abs(dy)) > STILL
            if self.dragged:
                self.explorer.drag(x, y, dx, dy)
                self.down = (x, y)
            elif last:
                self.explorer.click(x, y)
            self.down = None if last else self.down
