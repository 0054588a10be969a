"""The slice browser: which patient, which slice, which window."""

from collections.abc import Sequence
from typing import Any

from medsr_lib.show.explore import picture
from medsr_lib.show.explore.base import Explorer, slider, tick
from medsr_lib.show.explore.cache import SHARED
from medsr_lib.show.explore.chooser import WINDOW, Chooser, Greys, box_around
from medsr_lib.show.panels import Window, as_image, as_mask

SIDE = 512


class Slices(Explorer):
    """A browser of slices; `explore.slices` makes one."""

    title = "Slice browser"

    def __init__(self, slices: Sequence[Any], *, window: Window = WINDOW) -> None:
        super().__init__()
        with self.guarded():
            self._build(slices, window)
            self.draw()

    def _build(self, slices: Sequence[Any], window: Window) -> None:
        self.chooser = Chooser(self, slices, self.draw, live=True)
        self.greys = Greys(self, self.draw, window)
        contour, zoom = tick("Outline of the tumour", True), tick("Zoom on the tumour", False)
        margin = slider("Pixels around the tumour", 20, 0, 100, 1)
        self.controls = {
            **self.chooser.controls,
            "contour": contour,
            "zoom": zoom,
            "margin": margin,
            **self.greys.controls,
        }
        self.listen(contour, zoom, margin, to=self.draw)
        self.lay_out(
            list(self.chooser.controls.values()),
            [contour, zoom, margin],
            list(self.greys.controls.values()),
        )

    def draw(self) -> None:
        """Draw what the controls say."""
        here = self.chooser.position
        fold, image, mask = SHARED.get(self.key(here), self._read)
        set_to = {name: control.value for name, control in self.controls.items()}
        box = box_around(mask, set_to["margin"]) if set_to["zoom"] else None
        shown = picture.shrunk(picture.part(image, box), SIDE)
        pixels = picture.enlarged(picture.grey(shown, self.greys.window), SIDE)
        if set_to["contour"]:
            picture.outline(pixels, picture.part(mask, box))
        low, high = self.greys.window
        row = self.chooser.table.iloc[here]
        title = f"{row['slice_id']}, {row['tumour']}, patient {row['patient']}"
        note = f"grey from {low:.2f} to {high:.2f} of the intensity range"
        self.show(picture.sheet([picture.Panel(pixels, title, note)], columns=1))
        self.notes.value = self.chooser.line(fold, mask)
        self.say("" if mask.any() else "The mask of this slice is empty: no tumour is outlined.")

    def _read(self) -> tuple[Any, Any, Any]:
        chosen = self.chooser.read()
        image = as_image(chosen.image, "the slice")
        mask = as_mask(chosen.mask, image.shape)
        return getattr(chosen, "fold", None), image, mask
