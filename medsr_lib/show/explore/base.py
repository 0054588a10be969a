"""What all explorers have: controls, a picture, notes, a message in place, a static picture."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from itertools import count
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]
import numpy as np

from medsr_lib.show.explore import mouse, picture
from medsr_lib.show.explore.cache import SHARED
from medsr_lib.show.explore.picture import Pixels

NUMBERS = count()
WIDE = widgets.Layout(width="auto", min_width="22em", max_width="40em", flex="1 1 24em")
LABEL = {"description_width": "initial"}
ROW = widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")


class Explorer:
    """Controls above a picture; whatever they are set to, `pixels` and `screen.value` follow.

    The last line of a notebook's cell shows it. Where no widget can run (a stored notebook, a page
    of HTML) its picture is shown as it was.

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
    """What the mouse can do; said beneath the picture, where there is ipyevents."""

    def __init__(self) -> None:
        self.number = next(NUMBERS)
        self.controls: dict[str, Any] = {}
        self.pixels: Pixels = np.full((1, 1, 3), 255, np.uint8)
        self.screen = widgets.Image(format="png", layout=widgets.Layout(max_width="100%"))
        self.screen.layout.object_fit = "contain"
        self.screen.layout.align_self = "flex-start"
        self.under = widgets.HTML(layout=widgets.Layout(min_height="28px"))
        self.notes = widgets.HTML()
        self.alert = widgets.HTML()
        self.mouse = mouse.watch(self)
        self.message = ""
        self.refused = False
        self._quiet = False
        self.widget = widgets.VBox([self.alert, self.screen, self.under, self.notes])
        self.widget.layout.width = "100%"

    def close(self) -> None:
        """Take the widget off the page and forget what was computed for it."""
        SHARED.drop(self.number)
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
        self.tell("")

    def tell(self, text: str) -> None:
        """Say beneath the picture what is under the mouse; with nothing, what the mouse can do."""
        line = text or (self.hint if self.mouse is not None else "")
        self.under.value = f'<span style="{NUMBERS_LINE}">{escape(line)}</span>' if line else ""

    def lay_out(self, *rows: list[Any]) -> None:
        """Put rows of controls above the message, the picture and the notes."""
        above = [widgets.HBox(row, layout=ROW) for row in rows if row]
        self.widget.children = (*above, self.alert, self.screen, self.under, self.notes)
        self.tell("")

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

    def say(self, message: str) -> None:
        """Show a message above the picture; an empty one takes the former away."""
        self.message = message
        text = f'<div role="alert" style="{ALERT}">{escape(message)}</div>' if message else ""
        if self.alert.value != text:
            self.alert.value = text

    def refuse(self, message: str) -> None:
        """Show nothing but why there is nothing."""
        self.say(message)
        self.under.value = self.notes.value = ""
        self.refused = False
        self.show(picture.said(message))
        self.refused = True

    def key(self, *parts: Any) -> tuple[Any, ...]:
        """A key of the shared cache."""
        return (self.number, *parts)

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
        """Turn whatever goes wrong into a message in place: a traceback tells a reader nothing."""
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
        state = self.message or ", ".join(
            f"{name} {_plain(control.value)}" for name, control in self.controls.items()
        )
        return f"{self.title}: {state}"


ALERT = "padding:6px 10px; border-left:4px solid #D55E00; background:#FFF4EC; color:#222222"
TABLE = "border-collapse:collapse; font-size:13px; line-height:1.5; margin:4px 16px 8px 0"
NUMBERS_LINE = "font-variant-numeric:tabular-nums; color:#222222"
CAPTION = "text-align:left; font-weight:bold; white-space:nowrap"
CELL = "padding:2px 10px; text-align:right; font-variant-numeric:tabular-nums"


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


def choice(label: str, options: Any, value: Any = None, **rest: Any) -> Any:
    """A drop-down list with its whole label."""
    if value is not None:
        rest["value"] = value
    layout = widgets.Layout(width="auto", min_width="15em")
    return widgets.Dropdown(options=options, description=label, style=LABEL, layout=layout, **rest)


def tick(label: str, value: bool) -> Any:
    """A box to tick."""
    layout = widgets.Layout(width="auto", margin="2px 14px 2px 2px")
    return widgets.Checkbox(value=value, description=label, indent=False, layout=layout)


def slider(label: str, value: float, low: float, high: float, step: float, **rest: Any) -> Any:
    """A slider with its whole label; arrow keys move it."""
    whole = all(float(n).is_integer() for n in (low, high, step))
    kind = widgets.IntSlider if whole else widgets.FloatSlider
    if whole:
        value, low, high, step = int(value), int(low), int(high), int(step)
    reach = {"value": value, "min": low, "max": high, "step": step}
    return kind(**reach, description=label, style=LABEL, layout=WIDE, **rest)


def _plain(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
