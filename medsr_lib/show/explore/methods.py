"""The comparator: what methods make of one image, side by side or under a swipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import compress, count
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from cachetools import LRUCache, cachedmethod
from numpy.typing import NDArray

from medsr_lib.case import Case
from medsr_lib.show.explore import base, controls, picture, restored
from medsr_lib.show.explore.base import Explorer
from medsr_lib.show.explore.controls import WINDOW, Chooser, Greys
from medsr_lib.show.explore.picture import Panel, Pixels, Scale
from medsr_lib.show.explore.restored import ERROR, GIVEN, Degraded, Map, Method, Regions, Restored
from medsr_lib.show.panels import Box, Window
from medsr_lib.show.style import colours, written

SIDE_BY_SIDE, SWIPE, NOTHING = "side by side", "swipe", "nothing"
IN_A_ROW, SWIPED = 4, 640
AREA = 500_000  # pixels of all panels together
PATIENCE = 0.1  # seconds after which the methods done are shown before the next is asked
AROUND = {"lesion": 0, "cursor": 8}  # pixels around it that are shown at least
NUMBERS = count()
CACHE: Any = LRUCache(512 * 2**20, getsizeof=lambda of: of.nbytes)
"""What was computed, in bytes: one for all comparators of a process, so that all are bounded."""


@dataclass(frozen=True)
class View:
    """What is shown, as the controls say.

    Attributes:
        given: the case and its degraded image.
        shown: names of the pictures, in order.
        swipe: share of the width that is left of the line; None for side by side.
        part: what of the case is shown.
        cursor: its row and column in the case.
        overlay: the map laid over the pictures, or `NOTHING`.
        measure: the column of numbers.
        known: HR, LR, and what methods made of the case; others are added as they answer.
    """

    given: Degraded
    shown: list[str]
    swipe: float | None
    part: Box
    cursor: tuple[int, int]
    overlay: str
    measure: str
    known: dict[str, Restored]

    @property
    def waiting(self) -> list[str]:
        """Methods not yet asked."""
        return [name for name in self.shown if name not in self.known]

    @property
    def images(self) -> dict[str, NDArray[np.float32]]:
        """HR, and what there is of the images shown, (H, W) each."""
        found = {name: self.known.get(name) for name in ("HR", *self.shown)}
        return {n: of.image for n, of in found.items() if of and of.image is not None}

    @property
    def numbers(self) -> dict[str, pd.DataFrame]:
        """What was measured, by method."""
        found = {name: self.known[name].numbers for name in self.shown if name in self.known}
        return {name: of for name, of in found.items() if len(of)}

    @property
    def trouble(self) -> str:
        """What went wrong with this case."""
        mask = self.given.case.mask
        empty = mask is not None and not mask.any()
        found = [self.given.trouble, "the mask of this image is empty" if empty else ""]
        of_methods = {name: self.known[name].trouble for name in self.shown if name in self.known}
        found += [f"{name}: {trouble}" for name, trouble in of_methods.items() if trouble]
        return "; ".join(filter(None, found))


class Methods(Explorer):
    """Compare what methods make of an image: side by side or under a swipe, with maps and numbers.

    Each method is asked once about an image, when it is first to be shown. A method that fails
    says why in its panel, and the others are shown.

    Args:
        cases: a store, or a list of `Case`.
        methods: name -> function from LR (1, 1, h, w) to SR (1, 1, H, W) in [0, 1]; of several
            scales, among which one can then choose, {2: {name: function}, 4: {name: function}}. A
            method need not be there at all scales.
        degrade: HR -> LR; of several scales {2: function, 4: function}.
        scale: of the degradation, or the one to begin with; images it does not divide are
            centre-cropped.
        regions: (image, mask) -> masks by name, as `assess.regions.regions`, for the table of
            numbers; without it the whole image and the lesion.
        maps: name -> function from SR and HR (1, 1, H, W) to (1, H, W), to lay over the pictures
            and to average over the regions: `{"SSIM": partial(metrics.ssim_map, data_range=1)}`.
            The mean of one called SSIM leaves out the image's outer 5 pixels, as a score table
            does. The error, SR - HR, is always there.
        window: values shown as black and as white at first.
        at: place in `cases` of the one to begin with.
    """

    title = "Method comparator"
    hint = (
        "Point at a picture for its values; click to move the cursor there; drag for the window, "
        "or for the line of the swipe."
    )

    def __init__(
        self,
        cases: Sequence[Case],
        methods: Mapping[str, Method] | Mapping[int, Mapping[str, Method]],
        *,
        degrade: Method | Mapping[int, Method],
        scale: int,
        regions: Regions | None = None,
        maps: Mapping[str, Map] | None = None,
        window: Window = WINDOW,
        at: int = 0,
    ) -> None:
        super().__init__()
        self.number, self.regions, self.maps = next(NUMBERS), regions, dict(maps or {})
        self.view: View | None = None
        self.boxes: list[Box] = []
        with self.guarded():
            self.methods, self.degradations = by_scale(methods, degrade, scale)
            self.chooser = Chooser(self, cases, self.change_case, at=at)
            self.greys = Greys(self, self.update, window)
            self._add_controls(scale)
            self.change_case()

    def _add_controls(self, scale: int) -> None:
        names = list(dict.fromkeys(name for of in self.methods.values() for name in of))
        first, last = names[0], names[-1]
        measures = [(_name(of), of) for of in ("psnr", "mse", *self.maps)]
        measure = "SSIM" if "SSIM" in self.maps else "psnr"
        on = "lesion" if self.chooser.outlined else "cursor"
        self.ticks = {n: controls.tick(n, n in ("HR", first, last)) for n in (*GIVEN, *names)}
        self.controls = c = {
            **self.chooser.controls,
            "scale": controls.choice("Scale", [(f"×{s}", s) for s in sorted(self.methods)], scale),
            "view": controls.choice("View", [SIDE_BY_SIDE, SWIPE]),
            "left": controls.choice("Swipe: left", ["HR"]),
            "right": controls.choice("Swipe: right", [last]),
            "swipe": controls.slider("Swipe: line, % from the left", 50, 0, 100),
            "overlay": controls.choice("Overlay", [NOTHING, ERROR, *self.maps]),
            "opacity": controls.slider("Overlay: strength, %", 80, 0, 100, 5),
            "contour": controls.tick("Outline of the lesion", True),
            "zoom": controls.tick(f"Zoom on the {on}", self.chooser.outlined),
            "margin": controls.slider(f"Pixels around the {on}", 20, AROUND[on], 100),
            **self.greys.controls,
            "row": controls.slider("Cursor: row", 0, 0, 1),
            "column": controls.slider("Cursor: column", 0, 0, 1),
            "measure": controls.choice("Numbers", measures, measure),
        }
        controls.visible(c["scale"], len(self.methods) > 1)
        controls.visible(c["contour"], self.chooser.outlined)
        self.listen(c["scale"], c["view"], c["overlay"], c["opacity"], to=self.update)
        self.listen(c["contour"], c["zoom"], c["margin"], c["measure"], to=self.update)
        self.listen(c["row"], c["column"], to=self.update)
        self.listen(c["left"], c["right"], c["swipe"], to=partial(self.update, SWIPE))
        self.listen(*self.ticks.values(), to=partial(self.update, SIDE_BY_SIDE))
        self.lay_out(
            [*self.chooser.controls.values(), c["scale"]],
            [c["view"], *self.ticks.values()],
            [c["left"], c["right"], c["swipe"]],
            [c["overlay"], c["opacity"], c["contour"], c["zoom"], c["margin"]],
            list(self.greys.controls.values()),
            [c["row"], c["column"], c["measure"]],
        )

    def close(self) -> None:
        """Take the widget off the page and forget what was computed for it."""
        for key in [key for key in CACHE if key[0] == self.number]:
            del CACHE[key]
        super().close()

    def change_case(self) -> None:
        """Show another image, with the cursor in the middle of its lesion, or of itself."""
        case = self.chooser.case
        middle = np.array(case.image.shape) / 2
        if case.mask is not None and case.mask.any():
            middle = np.argwhere(case.mask.numpy()).mean(0)
        with self.quietly():
            for name, length, place in zip(("row", "column"), case.image.shape, middle):
                self.controls[name].max = length - 1
                self.controls[name].value = int(place)
        self.update()

    def update(self, view: str | None = None) -> None:
        """Draw what the controls say, after a change to `view`, that of the control just set;
        methods not yet asked about this image follow one by one.
        """
        self.view = None
        with self.quietly():
            if view is not None:
                self.controls["view"].value = view
            offered = self._offer()
        self.view = now = self._view(offered)
        self._draw(now)
        start = perf_counter()
        while now.waiting:
            name = now.waiting[0]
            now.known[name] = self._restored(self.chooser.position, self.scale, name)
            if not now.waiting or perf_counter() - start > PATIENCE:
                self._draw(now)
                start = perf_counter()
        self.leave()
        self.notes.value = self._notes(now)
        self.warn(now.trouble)

    @property
    def scale(self) -> int:
        """The chosen scale."""
        return int(self.controls["scale"].value)

    def _offer(self) -> list[str]:
        """Offer the pictures that there are at the chosen scale, and return their names."""
        offered = [*GIVEN, *self.methods[self.scale]]
        for name, box in self.ticks.items():
            controls.visible(box, name in offered)
        controls.offer(self.controls["left"], offered, "HR")
        controls.offer(self.controls["right"], offered, offered[-1])
        return offered

    def _view(self, offered: Sequence[str]) -> View:
        """All that the controls say, and what is already known of it."""
        c = {name: control.value for name, control in self.controls.items()}
        here = self.chooser.position, self.scale
        swipe = c["view"] == SWIPE
        ticked = [name for name in offered if self.ticks[name].value]
        shown = [c["left"], c["right"]] if swipe else ticked
        if not shown:
            raise ValueError("nothing is ticked: tick HR or a method")
        given = self._degraded(*here)
        size = given.case.image.shape
        row, column = (
            min(max(0, at - first), length - 1)
            for at, first, length in zip((c["row"], c["column"]), given.corner, size)
        )
        part = (0, 0, size[1], size[0])
        if c["zoom"] and (box := picture.box_around(given.case.mask, c["margin"])):
            part = box
        elif c["zoom"]:
            point = torch.zeros(size, dtype=torch.bool)
            point[row, column] = True
            part = picture.box_around(point, max(AROUND["cursor"], c["margin"])) or part
        return View(
            given,
            shown,
            swipe=c["swipe"] / 100 if swipe else None,
            part=part,
            cursor=(row, column),
            overlay=c["overlay"],
            measure=c["measure"],
            known=given.images
            | {n: self._restored(*here, n) for n in shown if (self.number, *here, n) in CACHE},
        )

    @cachedmethod(lambda self: CACHE, key=lambda self, *of: (self.number, *of))
    def _degraded(self, place: int, scale: int) -> Degraded:
        degrade, case = self.degradations[scale], self.chooser.case
        return restored.degraded(case, degrade=degrade, scale=scale, regions=self.regions)

    @cachedmethod(lambda self: CACHE, key=lambda self, *of: (self.number, *of))
    def _restored(self, place: int, scale: int, name: str) -> Restored:
        return restored.restored(self.methods[scale][name], self._degraded(place, scale), self.maps)

    def _draw(self, now: View) -> None:
        """Draw all pictures."""
        n, images = len(now.shown), now.images
        columns = -(-n // -(-n // IN_A_ROW))
        side = min(512, picture.WIDTH // columns - picture.GAP, int((AREA / n) ** 0.5))
        side = side if now.swipe is None else SWIPED
        maps = [of.maps[now.overlay] for of in now.known.values() if now.overlay in of.maps]
        scale = restored.colours_of(now.overlay, maps, now.part) if maps else None
        shots = {name: self._pixels(now, name, side, scale) for name in now.shown}
        tones = colours(now.shown)
        panels = [Panel(shots[name], name, self._note(now, name), tones[name]) for name in shots]
        there = [name in images for name in shots]
        if now.swipe is not None:
            left, right = (shots[name] for name in now.shown)
            both = picture.divided(left, right, now.swipe)
            panels, there = [Panel(both, "  |  ".join(now.shown))], [all(there)]
        for panel in compress(panels, there):
            self._mark(now, panel.pixels)
        sheet, boxes = picture.sheet(panels, columns=columns, scale=scale)
        self.boxes = list(compress(boxes, there))
        self.show(sheet)

    def _pixels(self, now: View, name: str, side: int, scale: Scale | None) -> Pixels:
        """The picture of one method, with the overlay if there is one."""
        found, (left, top, right, bottom) = now.known.get(name), now.part
        if found is None or found.image is None:
            width, height = picture.size_of((bottom - top, right - left), side)
            text = f"{name} cannot be shown: {found.trouble}" if found else f"{name} is at work …"
            return picture.sentence(text, (height, width))
        small = picture.shrunk(picture.part(found.image, now.part), side)
        pixels = picture.grey(small, self.greys.window)
        if scale is not None and now.overlay in found.maps:
            values = picture.shrunk(picture.part(found.maps[now.overlay], now.part), side)
            above = picture.coloured(values, scale)
            pixels = picture.blend(pixels, above, self.controls["opacity"].value / 100)
        return picture.enlarged(pixels, side)

    def _mark(self, now: View, pixels: Pixels) -> None:
        """Draw the lesion's outline and the cursor."""
        mask, (left, top, right, bottom) = now.given.case.mask, now.part
        if self.controls["contour"].value and mask is not None:
            picture.outline(pixels, picture.part(mask.numpy(), now.part))
        row = (now.cursor[0] + 0.5 - top) / (bottom - top)
        column = (now.cursor[1] + 0.5 - left) / (right - left)
        if 0 <= row < 1 and 0 <= column < 1:
            picture.cross(pixels, row, column)

    def _note(self, now: View, name: str) -> str:
        """The line below a picture."""
        region = restored.LESION if restored.LESION in now.given.places else restored.WHOLE
        if name not in now.numbers:
            return ""
        return f"{region}: {_name(now.measure)} {_written(now.numbers[name], region, now.measure)}"

    def hover(self, x: int, y: int) -> None:
        """Show the values under the mouse."""
        at = self._found_at(x, y)
        if self.view is None or at is None:
            self.leave()
        else:
            self.under.value = self._values(self.view, "mouse", at)

    def leave(self) -> None:
        """Show the values under the cursor again."""
        if self.view is not None:
            self.under.value = self._values(self.view, "cursor", self.view.cursor)

    def click(self, x: int, y: int) -> None:
        """Move the cursor."""
        at = self._found_at(x, y)
        if self.view is not None and at is not None:
            top, left = self.view.given.corner
            with self.quietly():
                self.controls["row"].value = at[0] + top
                self.controls["column"].value = at[1] + left
            self.update()

    def drag(self, x: int, y: int, dx: int, dy: int) -> None:
        """Move the line of the swipe; side by side, set the grey window."""
        if self.view is None or self.view.swipe is None:
            self.greys.drag(dx, dy)
        elif self.boxes:
            left, _, right, _ = self.boxes[0]
            self.controls["swipe"].value = round(100 * (x - left) / (right - left))

    def _found_at(self, x: int, y: int) -> tuple[int, int] | None:
        """The pixel of the case under a pixel of the picture."""
        return None if self.view is None else picture.found_at(x, y, self.boxes, self.view.part)

    def _values(self, now: View, under: str, at: tuple[int, int]) -> str:
        """The table of values under the mouse or the cursor."""
        names, rows = (ERROR, *self.maps), []
        for name, image in now.images.items():
            maps = now.known[name].maps
            values = [_value(key, maps[key][at]) if key in maps else "" for key in names]
            rows.append([name, f"{image[at]:.3f}", *values])
        row, column = (place + first for place, first in zip(at, now.given.corner))
        where = f"Under the {under}: row {row}, column {column}"
        return base.table(where, ["image", "value", *names], rows)

    def _notes(self, now: View) -> str:
        """The numbers by region, and what the image is."""
        numbers = now.numbers
        rows = [
            [
                region,
                str(inside.sum()),
                *(_written(n, region, now.measure) for n in numbers.values()),
            ]
            for region, inside in now.given.places.items()
        ]
        head = ["region", "pixels", *numbers]
        hint = self.hint if self.mouse is not None else ""
        lines = "<br>".join(escape(line) for line in (self.chooser.line(), hint) if line)
        return base.table(f"{_name(now.measure)} by region", head, rows) + lines


def by_scale(
    methods: Any, degrade: Any, scale: int
) -> tuple[dict[int, Mapping[str, Method]], Mapping[int, Callable[..., Any]]]:
    """Methods and degradation of each scale; of one scale, if they are not given by scale.

    Raises:
        ValueError: no methods, one called HR or LR, or other scales of methods than of
            degradations.
    """
    found = dict(methods) if isinstance(methods, Mapping) else {}
    if not any(isinstance(of, Mapping) for of in found.values()):
        found, degrade = {scale: found}, {scale: degrade}
    if not all(of and not set(GIVEN) & set(of) for of in found.values()):
        raise ValueError("give methods by name, as in {'bicubic': function}; not HR or LR")
    if not isinstance(degrade, Mapping) or set(degrade) != set(found):
        there = sorted(degrade) if isinstance(degrade, Mapping) else "one scale"
        raise ValueError(
            f"give a degradation for each scale, as in {{2: function, 4: function}}: there are "
            f"methods for {sorted(found)}, degradations for {there}"
        )
    if scale not in found:
        raise ValueError(f"there are methods for the scales {sorted(found)}, but not for {scale}")
    return found, degrade


def _name(measure: str) -> str:
    return measure.upper() if measure in ("psnr", "mse") else measure


def _written(numbers: pd.DataFrame, region: str, measure: str) -> str:
    value = numbers[measure].get(region) if measure in numbers else None
    if value is None or np.isnan(value):
        return "not measured"
    return written(measure.casefold(), value)


def _value(name: str, value: np.floating[Any]) -> str:
    """Of a map in one place; an error has its sign."""
    return f"{value:{'+' if name == ERROR else ''}.3f}".replace("-", "−")
