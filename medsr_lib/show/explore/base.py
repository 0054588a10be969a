"""What all explorers have: controls, a picture or the viewer, notes, a message in place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from os import environ
from typing import Any

import ipywidgets as widgets  # type: ignore[import-untyped]

from medsr_lib.show.explore import charts
from medsr_lib.show.explore.charts import Pixels
from medsr_lib.show.explore.viewer import Scene, Viewer, page_html, still

ROW = widgets.Layout(flex_flow="row wrap", align_items="center", width="100%")
ALERT = "padding:6px 10px; border-left:4px solid #D55E00; background:#FFF4EC; color:#222222"
TABLE = "border-collapse:collapse; font-size:13px; line-height:1.5; margin:4px 16px 8px 0"
CAPTION = "text-align:left; font-weight:bold; white-space:nowrap; color:inherit"
CELL = "padding:2px 10px; text-align:right; font-variant-numeric:tabular-nums"
PAGE = "application/vnd.medsr.viewer"
"""The type of an output that is the viewer of a page, as HTML; made where `FOR_PAGE` is set."""
FOR_PAGE = "MEDSR_FOR_PAGE"


class Explorer:
    """Controls above a picture or the viewer; whatever they are set to, these follow.

    Display it as the last line of a notebook's cell. Where no widget can run (a stored notebook, a
    page of HTML) its picture is shown as it was.

    Attributes:
        widget: all of it, to be put into other widgets.
        controls: by name; setting the `value` of one is what a hand would do.
        pixels: the picture (H, W, 3), where it is not the viewer.
        scene: what the viewer shows, where there is one.
        message: what is wrong, in a sentence; empty if nothing is.
    """

    title = "Explorer"

    def __init__(self) -> None:
        self.controls: dict[str, Any] = {}
        self.pixels: Pixels | None = None
        self.scene: Scene | None = None
        self.screen, self.viewer = widgets.HTML(), Viewer()
        self.notes, self.alert = widgets.HTML(), widgets.HTML()
        self.message = ""
        self._quiet = False
        self.widget = widgets.VBox([self.alert, self.screen, self.viewer, self.notes])
        self.widget.layout.width = self.viewer.layout.width = "100%"
        visible(self.viewer, False)

    def close(self) -> None:
        """Take the widget off the page."""
        self.widget.close()

    def lay_out(self, *rows: list[Any]) -> None:
        """Put rows of controls above the message, the picture and the notes."""
        above = [widgets.HBox(row, layout=ROW) for row in rows if row]
        self.widget.children = (*above, self.alert, self.screen, self.viewer, self.notes)

    def listen(self, *controls: Any, to: Callable[[], None]) -> None:
        """Call a function, guarded, when one of these is set."""
        for control in controls:
            control.observe(lambda _: self._answer(to), "value")

    def show(self, pixels: Pixels | None = None, scene: Scene | None = None) -> None:
        """Show a picture, or a case in the viewer, or both."""
        self.pixels, self.scene = pixels, scene
        self.screen.value = "" if pixels is None else charts.img(pixels, self.title)
        visible(self.viewer, scene is not None)
        if scene is not None:
            self.viewer.show(scene)

    def warn(self, message: str) -> None:
        """Show a message above the picture; an empty one takes the former away."""
        self.message = message
        text = f'<div role="alert" style="{ALERT}">{escape(message)}</div>' if message else ""
        if self.alert.value != text:
            self.alert.value = text

    def refuse(self, message: str) -> None:
        """Show nothing but why there is nothing."""
        self.warn(message)
        self.notes.value = ""
        self.show()

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

    def further(self) -> Iterator[Scene]:
        """Other cases that a page shows too, as far as they find room in it."""
        return iter(())

    def _answer(self, to: Callable[[], None]) -> None:
        if not self._quiet:
            with self.guarded():
                to()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        view = self.widget._repr_mimebundle_()
        view.pop("text/plain", None)
        parts = [self.pixels, None if self.scene is None else still(self.scene)]
        shown = [of for of in parts if of is not None] or [charts.sentence(self.message)]
        view["image/png"] = charts.kept(
            charts.joined(shown, axis=1) if len(shown) > 1 else shown[0]
        )
        if environ.get(FOR_PAGE) and self.scene is not None and self.pixels is None:
            view[PAGE] = page_html(self._scenes(self.scene))
        return {"text/plain": repr(self), **view}

    def _scenes(self, first: Scene) -> Iterator[Scene]:
        """What is shown, and others up to one that cannot be: a page does without it."""
        yield first
        with suppress(Exception):
            yield from self.further()

    def __repr__(self) -> str:
        return f"{self.title}: {self.message}" if self.message else self.title


def visible(control: Any, shown: bool) -> None:
    """Show a control on the page, or hide it."""
    control.layout.display = None if shown else "none"


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
