"""The method comparator: what methods make of one slice, side by side or under a swipe."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from medsr_lib.show.explore import base, picture, restored
from medsr_lib.show.explore.base import Explorer, choice, slider, tick
from medsr_lib.show.explore.cache import SHARED
from medsr_lib.show.explore.chooser import WINDOW, Chooser, Greys, box_around
from medsr_lib.show.explore.picture import Panel, Pixels, Scale
from medsr_lib.show.explore.restored import Map, Method, Regions, Restored, Truth
from medsr_lib.show.panels import Box, Window
from medsr_lib.show.style import INK, colours, written

SIDE_BY_SIDE, SWIPE, NOTHING = "side by side", "swipe", "nothing"
IN_A_ROW, SWIPED = 4, 640
AREA = 500_000
"""Pixels of all panels together."""
PATIENCE = 0.1
"""Seconds after which the method just done is shown before the next is asked."""
GIVEN = ("HR", "LR")


class Methods(Explorer):
    """A comparator of methods; `explore.methods` makes one.

    Attributes:
        table: psnr, mse and the means of the maps by method and region of the slice shown.
    """

    title = "Method comparator"

    def __init__(
        self,
        slices: Sequence[Any],
        methods: Mapping[str, Method],
        *,
        degrade: Callable[..., Tensor],
        scale: int,
        regions: Regions | None,
        maps: Mapping[str, Map],
        window: Window = WINDOW,
        at: int | None = None,
    ) -> None:
        super().__init__()
        self.methods, self.maps = dict(methods), dict(maps)
        self.regions, self.scale = regions, scale
        self.table = pd.DataFrame()
        self.truth: Truth | None = None
        self.results: dict[str, Restored] = {}
        self.here = 0
        with self.guarded():
            self.degrade = restored.bound(degrade, scale)
            taken = [name for name in self.methods if name in GIVEN]
            if taken or not self.methods:
                raise ValueError("give methods by name, as in {'bicubic': function}; not HR or LR")
            self._build(slices, window, at)
            self.change_slice()

    def _build(self, slices: Sequence[Any], window: Window, at: int | None) -> None:
        self.chooser = Chooser(self, slices, self.change_slice, live=False)
        if at is not None:
            self.chooser.place.value = at + 1
        self.greys = Greys(self, self.draw, window)
        names = [*GIVEN, *self.methods]
        first, *_, last = [*self.methods, *self.methods]
        self.ticks = {name: tick(name, name in ("HR", first, last)) for name in names}
        measures = ["PSNR", "MSE", *self.maps]
        self.controls = {
            **self.chooser.controls,
            "view": choice("View", [SIDE_BY_SIDE, SWIPE]),
            "left": choice("Swipe: left", names, "HR"),
            "right": choice("Swipe: right", names, last),
            "swipe": slider("Swipe: line, % from the left", 50, 0, 100, 1),
            "overlay": choice("Overlay", [NOTHING, restored.ERROR, *self.maps]),
            "opacity": slider("Overlay: strength, %", 80, 0, 100, 5),
            "contour": tick("Outline of the tumour", True),
            "zoom": tick("Zoom on the tumour", True),
            "margin": slider("Pixels around the tumour", 20, 0, 100, 1),
            **self.greys.controls,
            "row": slider("Cursor: row", 0, 0, 1, 1),
            "column": slider("Cursor: column", 0, 0, 1, 1),
            "measure": choice("Numbers", measures, "SSIM" if "SSIM" in self.maps else "PSNR"),
        }
        self._arrange()

    def _arrange(self) -> None:
        """Lay out the controls and listen to them."""
        c = self.controls
        drawn = "view left right swipe overlay opacity contour zoom margin row column measure"
        self.listen(*(c[name] for name in drawn.split()), *self.ticks.values(), to=self.draw)
        self.lay_out(
            list(self.chooser.controls.values()),
            [c["view"], *self.ticks.values()],
            [c["left"], c["right"], c["swipe"]],
            [c["overlay"], c["opacity"], c["contour"], c["zoom"], c["margin"]],
            list(self.greys.controls.values()),
            [c["row"], c["column"], c["measure"]],
        )

    def change_slice(self) -> None:
        """Show another slice at once with what is known of it, then method by method."""
        self.truth, self.results = None, {}
        self.here = self.chooser.position
        truth = self.truth = SHARED.get(self.key(self.here, "truth"), self._read)
        height, width = truth.mask.shape
        rows, columns = np.nonzero(truth.mask)
        middle = (rows.mean(), columns.mean()) if len(rows) else (height / 2, width / 2)
        with self.quietly():
            for name, length, place in zip(("row", "column"), (height, width), middle):
                self.controls[name].max = length - 1
                self.controls[name].value = int(place)
        self.draw()

    def draw(self) -> None:
        """Draw what the controls say; methods not yet asked about this slice follow one by one."""
        if self.truth is None:
            return
        shown = self._shown()
        waiting = [name for name in shown if name in self.methods and not self._known(name)]
        self._draw_pictures(shown, waiting)
        while waiting:
            name, start = waiting.pop(0), perf_counter()
            self._ask(name)
            if not waiting or perf_counter() - start > PATIENCE:
                self._draw_pictures(shown, waiting)
        self.table = tidy({n: self.results[n] for n in shown if n in self.results}, self.truth)
        self.notes.value = self._notes(shown)
        troubles = [
            f"{name}: {self.results[name].trouble}"
            for name in shown
            if name in self.results and self.results[name].trouble
        ]
        empty = [] if self.truth.mask.any() else ["the mask of this slice is empty"]
        self.say("; ".join([*filter(None, [self.truth.trouble]), *empty, *troubles]))

    def _read(self) -> Truth:
        return restored.prepare(
            self.chooser.read(), degrade=self.degrade, scale=self.scale, regions=self.regions
        )

    def _known(self, name: str) -> bool:
        """Whether a method has been asked about this slice."""
        if name not in self.results and self.key(self.here, name) in SHARED:
            self._ask(name)
        return name in self.results

    def _ask(self, name: str) -> None:
        truth = self.truth
        assert truth is not None  # draw looks
        make = partial(restored.restore, self.methods[name], truth, self.maps)
        self.results[name] = SHARED.get(self.key(self.here, name), make)

    def _shown(self) -> list[str]:
        """Names of the pictures wanted, in order."""
        if self.controls["view"].value == SWIPE:
            return [self.controls["left"].value, self.controls["right"].value]
        shown = [name for name, box in self.ticks.items() if box.value]
        if not shown:
            raise ValueError("nothing is ticked: tick HR or a method")
        return shown

    def _draw_pictures(self, shown: list[str], waiting: Sequence[str]) -> None:
        assert self.truth is not None
        mask, c = self.truth.mask, self.controls
        box = box_around(mask, c["margin"].value) if c["zoom"].value else None
        name = c["overlay"].value
        there = [r.maps[name] for n in shown if (r := self.results.get(n)) and name in r.maps]
        scale = restored.scale_of(name, there, box) if there else None
        swipe = c["view"].value == SWIPE
        rows = -(-len(shown) // IN_A_ROW)
        columns = 1 if swipe else -(-len(shown) // rows)
        side = SWIPED if swipe else min(512, picture.WIDTH // columns - picture.GAP)
        side = min(side, int((AREA / len(shown)) ** 0.5)) if not swipe else side
        pixels = {n: self._pixels(n, box, side, scale) for n in shown}
        if swipe:
            left, right = shown
            both = picture.divided(pixels[left], pixels[right], c["swipe"].value / 100)
            pixels = {f"{left}  |  {right}": both}
        panels = []
        for n, shot in pixels.items():
            failed = n in self.results and self.results[n].image is None
            if not failed and n not in waiting:
                self._mark(shot, box)
            panels.append(Panel(shot, n, self._note(n), colours([n])[n] if n in shown else INK))
        self.show(picture.sheet(panels, columns=columns, scale=scale))

    def _pixels(self, name: str, box: Box | None, side: int, scale: Scale | None) -> Pixels:
        """The picture of one method, with the overlay if there is one."""
        assert self.truth is not None
        found = self.results.get(name)
        image = {"HR": self.truth.image, "LR": self.truth.coarse}.get(name)
        overlay = None
        if image is None and found is not None:
            image, overlay = found.image, found.maps.get(self.controls["overlay"].value)
        if image is None:
            width, height = picture.size_of(picture.part(self.truth.mask, box).shape, side)
            text = f"{name} cannot be shown: {found.trouble}" if found else f"{name} is at work …"
            return picture.refusal(text, (height, width))
        small = picture.shrunk(picture.part(image, box), side)
        pixels = picture.grey(small, self.greys.window)
        if overlay is not None and scale is not None:
            above = picture.coloured(picture.shrunk(picture.part(overlay, box), side), scale)
            pixels = picture.blend(pixels, above, self.controls["opacity"].value / 100)
        return picture.enlarged(pixels, side)

    def _mark(self, pixels: Pixels, box: Box | None) -> None:
        """Draw the tumour's outline and the cursor."""
        assert self.truth is not None
        mask = picture.part(self.truth.mask, box)
        if self.controls["contour"].value:
            picture.outline(pixels, mask)
        left, top = (box[0], box[1]) if box else (0, 0)
        row = (self.controls["row"].value + 0.5 - top) / mask.shape[0]
        column = (self.controls["column"].value + 0.5 - left) / mask.shape[1]
        if 0 <= row < 1 and 0 <= column < 1:
            picture.cross(pixels, row, column)

    def _note(self, name: str) -> str:
        """What stands below a picture."""
        found, measure = self.results.get(name), self.controls["measure"].value
        if found is None or found.image is None:
            return ""
        return f"tumour: {measure} {_written(measure, found.numbers['tumour'].get(measure))}"

    def _notes(self, shown: list[str]) -> str:
        """Tables of numbers by region, and of the values under the cursor."""
        truth = self.truth
        assert truth is not None
        place = self.controls["row"].value, self.controls["column"].value
        measure = self.controls["measure"].value
        good = {n: r for n in shown if (r := self.results.get(n)) and r.image is not None}
        regions = [
            [
                region,
                str(len(inside)),
                *(_written(measure, r.numbers[region].get(measure)) for r in good.values()),
            ]
            for region, (inside, _) in truth.places.items()
        ]
        cursor = [["HR", f"{truth.image[place]:.3f}", *[""] * (1 + len(self.maps))]]
        for name, r in good.items():
            maps = [r.maps.get(key) for key in (restored.ERROR, *self.maps)]
            values = ["–" if of is None else _signed(of[place]) for of in maps]
            cursor.append([name, f"{r.image[place]:.3f}" if r.image is not None else "", *values])
        by_region = base.table(f"{measure} by region", ["region", "pixels", *good], regions)
        under = base.table(
            f"Under the cursor: row {place[0]}, column {place[1]}",
            ["image", "value", restored.ERROR, *self.maps],
            cursor,
        )
        line = escape(self.chooser.line(truth.fold, truth.mask))
        return f'{line}<div style="display:flex; flex-wrap:wrap">{by_region}{under}</div>'


def tidy(found: Mapping[str, Restored], truth: Truth) -> pd.DataFrame:
    """The numbers of a slice as a table: method, region, pixels, psnr, mse and a column a map."""
    rows = [
        {
            "method": method,
            "region": region,
            "pixels": len(truth.places[region][0]),
            **{name.lower() if name in ("PSNR", "MSE") else name: n for name, n in values.items()},
        }
        for method, restored_ in found.items()
        for region, values in restored_.numbers.items()
    ]
    return pd.DataFrame(rows)


def _written(measure: str, value: float | None) -> str:
    if value is None or np.isnan(value):
        return "not measured"
    return written(measure.casefold(), value)


def _signed(value: np.floating[Any]) -> str:
    return f"{value:+.3f}".replace("-", "−")
