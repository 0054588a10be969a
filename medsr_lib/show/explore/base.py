"""What all explorers have: controls, a picture, notes, a message in place, the mouse."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from time import perf_counter
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import numpy as np

from medsr_lib.show.explore import picture
from medsr_lib.show.explore.picture import Pixels

ROW = widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
ALERT = "padding:6px 10px; border-left:4px solid #D55E00; background:#FFF4EC; color:#222222"
TABLE = "border-collapse:collapse; font-size:13px; line-height:1.5; margin:4px 16px 8px 0"
NUMBERS_LINE = "font-variant-numeric:tabular-nums; color:#222222"
CAPTION = "text-align:left; font-weight:bold; white-space:nowrap"
CELL = "padding:2px 10px; text-align:right; font-variant-numeric:tabular-nums"
WAIT = 50  # milliseconds between two moves of the mouse that are sent
STILL = 4  # pixels that a hand moves the mouse while it only clicks


class Explorer:
    """Controls above a picture; whatever they are set to, `pixels` and `screen.value` follow.

    Display it as the last line of a notebook's cell. Where no widget can run (a stored notebook, a
    page of HTML) its picture is shown as it was.

    Attributes:
        widget: all of it, to be put into other widgets.
        pixels: the picture (H, W, 3); `screen` holds it as a PNG.
        controls: by name; setting the `value` of one is what a hand would do.
        under: what is under the mouse, right beneath the picture.
        message: what is wrong, in a sentence; empty if nothing is.
        refused: whether the picture is that message.
    """

    title = "Explorer"
    hint = ""
    """What the mouse can do; shown beneath the picture, where there is ipyevents."""

    def __init__(self) -> None:
        self.controls: dict[str, Any] = {}
        self.pixels: Pixels = np.full((1, 1, 3), 255, np.uint8)
        self.screen = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.screen.layout.object_fit = "contain"
        self.screen.layout.align_self = "flex-start"
        self.under = widgets.HTML(layout=widgets.Layout(min_height="28px"))
        self.notes = widgets.HTML()
        self.alert = widgets.HTML()
        self.mouse = _watch(self)
        self.message = ""
        self.refused = False
        self._quiet = False
        self.widget = widgets.VBox([self.alert, self.screen, self.under, self.notes])
        self.widget.layout.width = "100%"

    def close(self) -> None:
        """Take the widget off the page."""
        if self.mouse is not None:
            self.mouse.close()
        self.widget.close()

    def hover(self, x: int, y: int) -> None:
        """The mouse is over the pixel in column x and row y of the picture."""

    def click(self, x: int, y: int) -> None:
        """The mouse was clicked there."""

    def drag(self, x: int, y: int, dx: int, dy: int) -> None:
        """The mouse came there with its button held, by dx and dy pixels since the last call."""

    def leave(self) -> None:
        """The mouse is over no picture any more."""
        self.write_under("")

    def write_under(self, text: str) -> None:
        """Write beneath the picture what is under the mouse; without it, what the mouse can do."""
        line = text or (self.hint if self.mouse is not None else "")
        self.under.value = f'<span style="{NUMBERS_LINE}">{escape(line)}</span>' if line else ""

    def lay_out(self, *rows: list[Any]) -> None:
        """Put rows of controls above the message, the picture and the notes."""
        above = [widgets.HBox(row, layout=ROW) for row in rows if row]
        self.widget.children = (*above, self.alert, self.screen, self.under, self.notes)
        self.write_under("")

    def listen(self, *controls: Any, to: Callable[[], None]) -> None:
        """Call a function, guarded, when one of these is set."""
        for control in controls:
            control.observe(lambda _: self._answer(to), "value")

    def show(self, pixels: Pixels) -> None:
        """Show a picture."""
        self.pixels = pixels
        self.screen.value = picture.encoded(pixels)
        if self.refused:
            self.refused = False
            self.leave()

    def warn(self, message: str) -> None:
        """Show a message above the picture; an empty one takes the former away."""
        self.message = message
        text = f'<div role="alert" style="{ALERT}">{escape(message)}</div>' if message else ""
        if self.alert.value != text:
            self.alert.value = text

    def refuse(self, message: str) -> None:
        """Show nothing but why there is nothing."""
        self.warn(message)
        self.under.value = self.notes.value = ""
        self.refused = False
        self.show(picture.sentence(message))
        self.refused = True

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Set controls without being called for it."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn whatever goes wrong into a message in place: a traceback helps no reader."""
        try:
            yield
        except Exception as error:
            self.refuse(reason(error))

    def _answer(self, to: Callable[[], None]) -> None:
        if not self._quiet:
            with self.guarded():
                to()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        view = self.widget._repr_mimebundle_()
        view.pop("text/plain", None)
        return {"text/plain": repr(self), "image/png": picture.kept(self.pixels), **view}

    def __repr__(self) -> str:
        return f"{self.title}: {self.message}" if self.message else self.title


def reason(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def table(caption: str, head: list[str], rows: list[list[str]]) -> str:
    """A table of HTML; the first cell of each row is its name."""
    top = "".join(f'<th scope="col" style="{CELL}">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row" style="{CELL}; text-align:left">{escape(row[0])}</th>'
        + "".join(f'<td style="{CELL}">{escape(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    name = f'<caption style="{CAPTION}">{escape(caption)}</caption>'
    return (
        f'<table style="{TABLE}">{name}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    )


class Mouse:
    """Calls `hover`, `drag`, `click` and `leave` of an explorer for the browser's events.

    A move that was made while the former was still being answered is skipped: none queue up.
    """

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        self.down: tuple[int, int] | None = None
        self.dragged = False
        self.busy_until = -math.inf  # in the milliseconds of the browser

    def __call__(self, event: dict[str, Any]) -> None:
        """Answer an event in the form of ipyevents."""
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


def place(event: dict[str, Any], width: int, height: int) -> tuple[int, int]:
    """Column and row of the pixel under the mouse, of a picture that lies in the middle of its
    rectangle on the page, as large as fits; beyond its ends where the mouse is not on it.
    """
    wide, high = event["boundingRectWidth"], event["boundingRectHeight"]
    factor = min(wide / width, high / height) or 1.0
    x = event["clientX"] - event["boundingRectLeft"] - (wide - factor * width) / 2
    y = event["clientY"] - event["boundingRectTop"] - (high - factor * height) / 2
    return math.floor(x / factor), math.floor(y / factor)


def _watch(explorer: Explorer) -> Any:
    """Pass on what the mouse does over the screen of an explorer; None where ipyevents is missing:
    the controls, which do the same by keyboard, are then all there is.
    """
    try:
        from ipyevents import Event  # type: ignore[import-untyped]
    except ImportError:
        return None
    watched = ["mousedown", "mousemove", "click", "mouseleave"]
    events = Event(source=explorer.screen, watched_events=watched, wait=WAIT)
    events.prevent_default_action = True  # a browser would drag the picture itself away
    events.on_dom_event(Mouse(explorer))
    return events
