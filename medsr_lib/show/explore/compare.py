"""The method comparator: what methods make of one slice, side by side or under a swipe."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from itertools import compress
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
from medsr_lib.show.explore.restored import GIVEN, Map, Method, Regions, Restored, Truth
from medsr_lib.show.panels import Box, Window
from medsr_lib.show.style import INK, colours, written

SIDE_BY_SIDE, SWIPE, NOTHING = "side by side", "swipe", "nothing"
IN_A_ROW, SWIPED = 4, 640
AREA = 500_000
"""Pixels of all panels together."""
PATIENCE = 0.1
"""Seconds after which the method just done is shown before the next is asked."""


class Methods(Explorer):
    """A comparator of methods; `explore.methods` makes one.

    Attributes:
        table: psnr, mse and the means of the maps by method and region of the slice shown.
    """

    title = "Method comparator"
    hint = (
        "Point at a picture for its values; click to move the cursor there; drag for the window, "
        "or for the line of the swipe."
    )

    def __init__(
        self,
        slices: Sequence[Any],
        methods: Mapping[str, Method] | Mapping[int, Mapping[str, Method]],
        *,
        degrade: Callable[..., Tensor] | Mapping[int, Callable[..., Tensor]],
        scale: int,
        regions: Regions | None,
        maps: Mapping[str, Map],
        window: Window = WINDOW,
        at: int | None = None,
    ) -> None:
        super().__init__()
        self.maps, self.regions, self.scale = dict(maps), regions, scale
        self.table = pd.DataFrame()
        self.truth: Truth | None = None
        self.results: dict[str, Restored] = {}
        self.here = 0
        self.boxes: list[Box] = []
        self.part: Box = (0, 0, 0, 0)
        with self.guarded():
            self.by_scale, self.degradations = restored.by_scale(methods, degrade, scale)
            self._build(slices, window, at)
            self.change_slice()

    def _build(self, slices: Sequence[Any], window: Window, at: int | None) -> None:
        self.chooser = Chooser(self, slices, self.change_slice, live=False)
        if at is not None:
            self.chooser.begin_at(at)
        self.greys = Greys(self, self.draw, window)
        names = list(
            dict.fromkeys([*GIVEN, *(name for of in self.by_scale.values() for name in of)])
        )
        first, *_, last = [*self.methods, *self.methods]
        self.ticks = {name: tick(name, name in ("HR", first, last)) for name in names}
        offered = [(f"×{scale}", scale) for scale in sorted(self.by_scale)]
        scales = {"scale": choice("Scale", offered, self.scale)} if len(offered) > 1 else {}
        measures = ["PSNR", "MSE", *self.maps]
        on = "tumour" if self.chooser.kind.outlined else "cursor"
        self.controls = {
            **self.chooser.controls,
            **scales,
            "view": choice("View", [SIDE_BY_SIDE, SWIPE]),
            "left": choice("Swipe: left", self.offered, "HR"),
            "right": choice("Swipe: right", self.offered, last),
            "swipe": slider("Swipe: line, % from the left", 50, 0, 100, 1),
            "overlay": choice("Overlay", [NOTHING, restored.ERROR, *self.maps]),
            "opacity": slider("Overlay: strength, %", 80, 0, 100, 5),
            "contour": tick("Outline of the tumour", True),
            "zoom": tick(f"Zoom on the {on}", on == "tumour"),
            "margin": slider(f"Pixels around the {on}", 20, 0 if on == "tumour" else 8, 100, 1),
            **self.greys.controls,
            "row": slider("Cursor: row", 0, 0, 1, 1),
            "column": slider("Cursor: column", 0, 0, 1, 1),
            "measure": choice("Numbers", measures, "SSIM" if "SSIM" in self.maps else "PSNR"),
        }
        self._offer()
        c = self.controls
        c["contour"].layout.display = None if on == "tumour" else "none"
        drawn = "view overlay opacity contour zoom margin row column measure"
        self.listen(*scales.values(), to=self.change_scale)
        self.listen(*(c[name] for name in drawn.split()), to=self.draw)
        self.listen(c["left"], c["right"], c["swipe"], to=partial(self.draw, SWIPE))
        self.listen(*self.ticks.values(), to=partial(self.draw, SIDE_BY_SIDE))
        self.lay_out(
            [*self.chooser.controls.values(), *scales.values()],
            [c["view"], *self.ticks.values()],
            [c["left"], c["right"], c["swipe"]],
            [c["overlay"], c["opacity"], c["contour"], c["zoom"], c["margin"]],
            list(self.greys.controls.values()),
            [c["row"], c["column"], c["measure"]],
        )

    @property
    def methods(self) -> dict[str, Method]:
        """Those of the scale shown, by name."""
        return self.by_scale[self.scale]

    @property
    def offered(self) -> list[str]:
        """Names of the pictures there are at this scale."""
        return [*GIVEN, *self.methods]

    def change_slice(self) -> None:
        """Show another slice at once with what is known of it, then method by method."""
        mask = self._prepare().mask
        rows, columns = np.nonzero(mask)
        middle = (rows.mean(), columns.mean()) if len(rows) else np.array(mask.shape) / 2
        with self.quietly():
            for name, length, place in zip(("row", "column"), mask.shape, middle):
                self.controls[name].max = length - 1
                self.controls[name].value = int(place)
        self.draw()

    def change_scale(self) -> None:
        """Show the same place of the slice at another scale, by the methods that there are."""
        before = None if self.truth is None else self.truth.mask.shape
        self.scale = self.controls["scale"].value
        with self.quietly():
            self._offer()
        after = self._prepare().mask.shape
        with self.quietly():
            for name, old, new in zip(("row", "column"), before or after, after):
                control = self.controls[name]
                place = control.value + (new - old) // 2  # both are cropped around the middle
                control.max = new - 1
                control.value = min(max(0, place), new - 1)
        self.draw()

    def _prepare(self) -> Truth:
        """Degrade the slice chosen; nothing is known of it yet."""
        self.truth, self.results = None, {}
        self.here = self.chooser.position
        self.truth = SHARED.get(self.key(self.here, self.scale), self._read)
        return self.truth

    def _offer(self) -> None:
        """Offer the methods of this scale only."""
        for name, box in self.ticks.items():
            box.layout.display = None if name in self.offered else "none"
        for side, instead in (("left", "HR"), ("right", self.offered[-1])):
            control = self.controls[side]
            if list(control.options) != self.offered:
                before = control.value
                control.options = self.offered
                control.value = before if before in self.offered else instead

    def draw(self, view: str | None = None) -> None:
        """Draw what the controls say; methods not yet asked about this slice follow one by one.

        Args:
            view: to change to: that of the control just set.
        """
        if self.truth is None:
            return
        if view is not None:
            with self.quietly():
                self.controls["view"].value = view
        shown = self._shown()
        waiting = [name for name in shown if name in self.methods and not self._known(name)]
        self._draw_pictures(shown, waiting)
        self.truth = SHARED.get(self.key("regions", self.here, self.scale), self._measurable)
        while waiting:
            name, start = waiting.pop(0), perf_counter()
            self._ask(name)
            if not waiting or perf_counter() - start > PATIENCE:
                self._draw_pictures(shown, waiting)
        self.table = tidy({n: self.results[n] for n in shown if n in self.results}, self.truth)
        self.leave()
        self.notes.value = self._notes()
        troubles = [
            f"{name}: {self.results[name].trouble}"
            for name in shown
            if name in self.results and self.results[name].trouble
        ]
        empty = self.chooser.kind.outlined and not self.truth.mask.any()
        first = [self.truth.trouble, "the mask of this slice is empty" if empty else ""]
        self.say("; ".join(filter(None, [*first, *troubles])))

    def _read(self) -> Truth:
        degrade = self.degradations[self.scale]
        return restored.prepare(self.chooser.read(), degrade=degrade, scale=self.scale)

    def _measurable(self) -> Truth:
        assert self.truth is not None  # draw looks
        return restored.with_regions(self.truth, self.regions, outlined=self.chooser.kind.outlined)

    def _known(self, name: str) -> bool:
        """Whether a method has been asked about this slice."""
        if name not in self.results and self.key(self.here, self.scale, name) in SHARED:
            self._ask(name)
        return name in self.results

    def _ask(self, name: str) -> None:
        truth = self.truth
        assert truth is not None  # draw looks
        maps = {of: restored.bound(function, self.scale) for of, function in self.maps.items()}
        make = partial(restored.restore, self.methods[name], truth, maps)
        self.results[name] = SHARED.get(self.key(self.here, self.scale, name), make)

    def _shown(self) -> list[str]:
        """Names of the pictures wanted, in order."""
        if self.controls["view"].value == SWIPE:
            return [self.controls["left"].value, self.controls["right"].value]
        shown = [name for name in self.offered if self.ticks[name].value]
        if not shown:
            raise ValueError("nothing is ticked: tick HR or a method")
        return shown

    def _draw_pictures(self, shown: list[str], waiting: Sequence[str]) -> None:
        assert self.truth is not None
        mask, c = self.truth.mask, self.controls
        box = self._box()
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
        panels, pointable = [], []
        for n, shot in pixels.items():
            failed = n in self.results and self.results[n].image is None
            pointable.append(not failed and n not in waiting)
            if pointable[-1]:
                self._mark(shot, box)
            panels.append(Panel(shot, n, self._note(n), colours([n])[n] if n in shown else INK))
        sheet, boxes = picture.sheet(panels, columns=columns, scale=scale)
        self.boxes, self.part = list(compress(boxes, pointable)), box or picture.whole(mask)
        self.show(sheet)

    def _box(self) -> Box | None:
        """What is zoomed on: the tumour, or the cursor where none is outlined."""
        assert self.truth is not None
        c, mask = self.controls, self.truth.mask
        if not self.chooser.kind.outlined:
            mask = np.zeros_like(mask)
            mask[c["row"].value, c["column"].value] = True
        return box_around(mask, c["margin"].value) if c["zoom"].value else None

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
        region = "tumour" if self.chooser.kind.outlined else "whole"
        return f"{region}: {measure} {_written(measure, found.numbers[region].get(measure))}"

    def hover(self, x: int, y: int) -> None:
        """Show the values under the mouse."""
        at = picture.found_at(x, y, self.boxes, self.part)
        if at is None:
            self.leave()
        else:
            self._values("mouse", at)

    def leave(self) -> None:
        """Show the values under the cursor again."""
        self._values("cursor", (self.controls["row"].value, self.controls["column"].value))

    def click(self, x: int, y: int) -> None:
        """Move the cursor."""
        if at := picture.found_at(x, y, self.boxes, self.part):
            with self.quietly():
                self.controls["row"].value, self.controls["column"].value = at
            self.draw()

    def drag(self, x: int, y: int, dx: int, dy: int) -> None:
        """Move the line of the swipe; side by side, set the grey window."""
        if self.controls["view"].value != SWIPE:
            self.greys.drag(dx, dy)
        elif self.boxes:
            left, _, right, _ = self.boxes[0]
            self.controls["swipe"].value = round(100 * (x - left) / (right - left))

    def _values(self, under: str, place: tuple[int, int]) -> None:
        """The table of values under the mouse or the cursor."""
        truth = self.truth
        if truth is None:
            return
        given = {"HR": truth.image, **({"LR": truth.coarse} if "LR" in self._shown() else {})}
        blank = [""] * (1 + len(self.maps))
        rows = [[name, f"{image[place]:.3f}", *blank] for name, image in given.items()]
        for name, r in self._good().items():
            maps = {key: r.maps.get(key) for key in (restored.ERROR, *self.maps)}
            values = ["–" if of is None else _value(key, of[place]) for key, of in maps.items()]
            rows.append([name, f"{r.image[place]:.3f}" if r.image is not None else "", *values])
        where = f"Under the {under}: row {place[0]}, column {place[1]}"
        head = ["image", "value", restored.ERROR, *self.maps]
        self.under.value = base.table(where, head, rows)

    def _good(self) -> dict[str, Restored]:
        """What is shown of methods that have given a picture."""
        found = {name: self.results.get(name) for name in self._shown()}
        return {name: r for name, r in found.items() if r is not None and r.image is not None}

    def _notes(self) -> str:
        """What the slice is, and the numbers by region."""
        truth, good = self.truth, self._good()
        assert truth is not None  # draw looks
        measure = self.controls["measure"].value
        regions = [
            [
                region,
                str(len(inside)),
                *(_written(measure, r.numbers[region].get(measure)) for r in good.values()),
            ]
            for region, (inside, _) in truth.places.items()
        ]
        by_region = base.table(f"{measure} by region", ["region", "pixels", *good], regions)
        line = self.chooser.line(truth.fold, truth.mask)
        hint = self.hint if self.mouse is not None else ""
        return by_region + "<br>".join(escape(text) for text in (line, hint) if text)


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


def _value(name: str, value: np.floating[Any]) -> str:
    """Of a map in one place; an error has its sign."""
    sign = "+" if name == restored.ERROR else ""
    return f"{value:{sign}.3f}".replace("-", "−")
