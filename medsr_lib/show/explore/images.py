"""The explorers of images: to browse them, and to compare what methods make of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from cachetools import LRUCache, cachedmethod

from medsr_lib.case import Case
from medsr_lib.show.explore import base, controls, restored
from medsr_lib.show.explore.base import Explorer, visible
from medsr_lib.show.explore.controls import Chooser
from medsr_lib.show.explore.restored import (
    GIVEN,
    LESION,
    WHOLE,
    Degraded,
    Map,
    Method,
    Regions,
    Restored,
)  # fmt: skip
from medsr_lib.show.explore.viewer import Scene
from medsr_lib.show.panels import Window
from medsr_lib.show.style import written

PATIENCE = 0.1  # seconds after which the images done are shown before the next method is asked
NUMBERS = count()  # of comparators
CACHE: Any = LRUCache(512 * 2**20, getsizeof=lambda of: of.nbytes)
"""What was computed, in bytes: one for all comparators of a process, so that all are bounded."""


class Slices(Explorer):
    """Browse images by label and patient in the viewer: values, outline, zoom, window.

    Args:
        cases: a store, or a list of `Case`.
        window: values shown as black and as white at first; without it the 1st and the 99th
            percentile of each image.
    """

    title = "Image browser"

    def __init__(self, cases: Sequence[Case], *, window: Window | None = None) -> None:
        super().__init__()
        self.window = window
        with self.guarded():
            self.chooser = Chooser(self, cases, self.update, live=True)
            self.controls = self.chooser.controls
            self.lay_out(list(self.controls.values()))
            self.update()

    def update(self) -> None:
        """Show the chosen image."""
        case = self.chooser.case
        self.show(scene=self._scene(case))
        self.notes.value = self.chooser.line()
        empty = case.mask is not None and not case.mask.any()
        self.warn("The mask of this image is empty: no lesion is outlined." if empty else "")

    def further(self) -> Iterator[Scene]:
        """Others from the first to the last."""
        return (self._scene(self.chooser.read(place)) for place in self.chooser.others())

    def _scene(self, case: Case) -> Scene:
        mask = None if case.mask is None else case.mask.numpy()
        return Scene(
            self.chooser.name(case), case.image.numpy(), mask=mask, spacing=case.spacing,
            window=self.window,
        )  # fmt: skip


class Methods(Explorer):
    """Compare what methods make of an image in the viewer, with maps and numbers.

    Each method is asked once about an image, and images are shown as methods answer. What a method
    that fails says is above the viewer, and the others are shown.

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
        maps: name -> function from SR and HR (1, 1, H, W) to (1, H, W), to be shown in colours and
            to average over the regions: `{"SSIM": partial(metrics.ssim_map, data_range=1)}`.
            The mean of one called SSIM leaves out the image's outer 5 pixels, as a score table
            does. The difference, SR - HR, is always there.
        window: values shown as black and as white at first; without it the 1st and the 99th
            percentile of HR.
        at: place in `cases` of the one to begin with.

    Attributes:
        numbers: what was measured of the image shown, by method: a row per region.
    """

    title = "Method comparator"

    def __init__(
        self,
        cases: Sequence[Case],
        methods: Mapping[str, Method] | Mapping[int, Mapping[str, Method]],
        *,
        degrade: Method | Mapping[int, Method],
        scale: int,
        regions: Regions | None = None,
        maps: Mapping[str, Map] | None = None,
        window: Window | None = None,
        at: int = 0,
    ) -> None:
        super().__init__()
        self.number, self.regions, self.maps = next(NUMBERS), regions, dict(maps or {})
        self.window, self.numbers = window, dict[str, pd.DataFrame]()
        with self.guarded():
            self.methods, self.degradations = by_scale(methods, degrade, scale)
            self.chooser = Chooser(self, cases, self.update, at=at)
            measures = [(_name(of), of) for of in ("psnr", "mse", *self.maps)]
            measure = "SSIM" if "SSIM" in self.maps else "psnr"
            scales = [(f"×{s}", s) for s in sorted(self.methods)]
            own = {
                "scale": controls.choice("Scale", scales, scale),
                "measure": controls.choice("Numbers", measures, measure),
            }
            visible(own["scale"], len(self.methods) > 1)
            self.controls = {**self.chooser.controls, **own}
            self.listen(*own.values(), to=self.update)
            self.lay_out(list(self.controls.values()))
            self.update()

    def close(self) -> None:
        """Take the widget off the page and forget what was computed for it."""
        for key in [key for key in CACHE if key[0] == self.number]:
            del CACHE[key]
        super().close()

    @property
    def scale(self) -> int:
        """The chosen scale."""
        return int(self.controls["scale"].value)

    def update(self) -> None:
        """Show what the controls say; methods not yet asked about this image follow one by one."""
        place, known, start = self.chooser.position, dict[str, Restored](), perf_counter()
        given = self._degraded(place, self.scale)
        for name in self.methods[self.scale]:
            if perf_counter() - start > PATIENCE:
                self.show(scene=self._scene(given, known))
                start = perf_counter()
            known[name] = self._restored(place, self.scale, name)
        self.numbers = {name: of.numbers for name, of in known.items() if len(of.numbers)}
        self.show(scene=self._scene(given, known))
        self.notes.value = self._notes(given)
        empty = given.case.mask is not None and not given.case.mask.any()
        found = [given.trouble, "the mask of this image is empty" if empty else ""]
        found += [f"{name}: {of.trouble}" for name, of in known.items() if of.trouble]
        self.warn("; ".join(filter(None, found)))

    def further(self) -> Iterator[Scene]:
        """Others from the first to the last."""
        for place in self.chooser.others():
            names = self.methods[self.scale]
            known = {name: self._restored(place, self.scale, name) for name in names}
            yield self._scene(self._degraded(place, self.scale), known)

    @cachedmethod(lambda self: CACHE, key=lambda self, *of: (self.number, *of))
    def _degraded(self, place: int, scale: int) -> Degraded:
        degrade, case = self.degradations[scale], self.chooser.read(place)
        return restored.degraded(case, degrade=degrade, scale=scale, regions=self.regions)

    @cachedmethod(lambda self: CACHE, key=lambda self, *of: (self.number, *of))
    def _restored(self, place: int, scale: int, name: str) -> Restored:
        return restored.restored(self.methods[scale][name], self._degraded(place, scale), self.maps)

    def _scene(self, given: Degraded, known: Mapping[str, Restored]) -> Scene:
        """What the viewer shows of a case and what methods made of it so far."""
        case, measure = given.case, self.controls["measure"].value
        answered = {name: of for name, of in known.items() if of.image is not None}
        maps = {
            key: {name: of.maps[key] for name, of in answered.items() if key in of.maps}
            for key in self.maps
        }
        maps = {key: of for key, of in maps.items() if of}
        region = LESION if LESION in given.places else WHOLE
        return Scene(
            f"{self.chooser.name(case)}, ×{self.scale}",
            case.image.numpy(),
            lr=restored.flat(given.lr),
            sr={name: of.image for name, of in answered.items() if of.image is not None},
            mask=None if case.mask is None else case.mask.numpy(),
            spacing=case.spacing,
            maps=maps,
            scales={key: restored.scale_of(key, [*of.values()]) for key, of in maps.items()},
            notes={
                name: f"{region}: {_name(measure)} {_written(of.numbers, region, measure)}"
                for name, of in answered.items()
            },
            window=self.window,
            enlarge=True,
            corner=given.corner,
        )

    def _notes(self, given: Degraded) -> str:
        """The numbers by region, and what the image is."""
        measure = self.controls["measure"].value
        rows = [
            [
                region,
                str(inside.sum()),
                *(_written(n, region, measure) for n in self.numbers.values()),
            ]
            for region, inside in given.places.items()
        ]
        head = ["region", "pixels", *self.numbers]
        return base.table(f"{_name(measure)} by region", head, rows) + escape(self.chooser.line())


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
