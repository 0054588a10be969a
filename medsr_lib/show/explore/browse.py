"""The slice browser: which patient, which slice, which window."""

from collections.abc import Sequence
from typing import Any

from medsr_lib.show.explore import picture
from medsr_lib.show.explore.base import Explorer, slider, tick
from medsr_lib.show.explore.cache import SHARED
from medsr_lib.show.explore.chooser import WINDOW, Chooser, Greys, box_around, mask_of
from medsr_lib.show.panels import Box, Window, as_image, as_mask

SIDE = 512


class Slices(Explorer):
    """A browser of slices; `explore.slices` makes one."""

    title = "Slice browser"
    hint = "Point at a pixel for its value; drag for the window: across its width, down its level."

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
        self.boxes: list[Box] = []
        self.part: Box = (0, 0, 0, 0)
        about = {"contour": contour, "zoom": zoom, "margin": margin}
        about = about if self.chooser.kind.outlined else {}
        self.controls = {**self.chooser.controls, **about, **self.greys.controls}
        self.listen(contour, zoom, margin, to=self.draw)
        self.lay_out(
            list(self.chooser.controls.values()),
            list(about.values()),
            list(self.greys.controls.values()),
        )

    def draw(self) -> None:
        """Draw what the controls say."""
        here = self.chooser.position
        fold, image, mask = self._here()
        set_to = {name: control.value for name, control in self.controls.items()}
        box = box_around(mask, set_to["margin"]) if set_to.get("zoom") else None
        shown = picture.shrunk(picture.part(image, box), SIDE)
        pixels = picture.enlarged(picture.grey(shown, self.greys.window), SIDE)
        if set_to.get("contour"):
            picture.outline(pixels, picture.part(mask, box))
        low, high = self.greys.window
        row = self.chooser.table.iloc[here]
        title = f"{row['slice_id']}, {row['tumour']}, patient {row['patient']}"
        note = f"grey from {low:.2f} to {high:.2f} of the intensity range"
        sheet, self.boxes = picture.sheet([picture.Panel(pixels, title, note)], columns=1)
        self.part = box or picture.whole(mask)
        self.show(sheet)
        self.notes.value = self.chooser.line(fold, mask)
        empty = self.chooser.kind.outlined and not mask.any()
        self.say("The mask of this slice is empty: no tumour is outlined." if empty else "")

    def hover(self, x: int, y: int) -> None:
        """Say the value under the mouse."""
        at = picture.found_at(x, y, self.boxes, self.part)
        if at is None:
            self.leave()
            return
        _, image, mask = self._here()
        side = f", {'inside' if mask[at] else 'outside'} the tumour"
        side = side if self.chooser.kind.outlined else ""
        self.tell(f"row {at[0]}, column {at[1]}: {image[at]:.3f}{side}")

    def drag(self, x: int, y: int, dx: int, dy: int) -> None:
        """Set the grey window."""
        self.greys.drag(dx, dy)

    def _here(self) -> tuple[Any, Any, Any]:
        return SHARED.get(self.key(self.chooser.position), self._read)

    def _read(self) -> tuple[Any, Any, Any]:
        chosen = self.chooser.read()
        image = as_image(chosen.image, "the slice")
        mask = as_mask(mask_of(chosen), image.shape)
        return getattr(chosen, "fold", None), image, mask
