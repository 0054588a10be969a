"""The browser of images: which patient, which image, which window."""

from collections.abc import Sequence

from medsr_lib.case import Case
from medsr_lib.show.explore import picture
from medsr_lib.show.explore.base import Explorer
from medsr_lib.show.explore.controls import NO_LABEL, WINDOW, Chooser, Greys, slider, tick, visible
from medsr_lib.show.panels import Box, Window

SIDE = 512


class Slices(Explorer):
    """Browse images by label and patient, with outline, zoom, window and level.

    Args:
        cases: a store, or a list of `Case`.
        window: values shown as black and as white at first.
    """

    title = "Image browser"
    hint = "Point at a pixel for its value; drag for the window: across its width, down its level."

    def __init__(self, cases: Sequence[Case], *, window: Window = WINDOW) -> None:
        super().__init__()
        self.boxes: list[Box] = []
        self.part: Box = (0, 0, 0, 0)
        with self.guarded():
            self.chooser = Chooser(self, cases, self.update, live=True)
            self.greys = Greys(self, self.update, window)
            lesion = {
                "contour": tick("Outline of the lesion", True),
                "zoom": tick("Zoom on the lesion", False),
                "margin": slider("Pixels around the lesion", 20, 0, 100),
            }
            for control in lesion.values():
                visible(control, self.chooser.outlined)
            self.controls = {**self.chooser.controls, **lesion, **self.greys.controls}
            self.listen(*lesion.values(), to=self.update)
            rows = (self.chooser.controls, lesion, self.greys.controls)
            self.lay_out(*(list(row.values()) for row in rows))
            self.update()

    def update(self) -> None:
        """Draw what the controls are set to."""
        case, c, (low, high) = self.chooser.case, self.controls, self.greys.window
        box = picture.box_around(case.mask, c["margin"].value) if c["zoom"].value else None
        self.part = box or (0, 0, case.image.shape[1], case.image.shape[0])
        sheet, self.boxes = picture.case_panel(
            case,
            f"{case.id}, {case.label or NO_LABEL}, patient {case.patient}",
            f"grey from {low:.2f} to {high:.2f} of the intensity range",
            side=SIDE,
            window=(low, high),
            box=box,
            contour=c["contour"].value,
        )
        self.show(sheet)
        self.notes.value = self.chooser.line()
        empty = case.mask is not None and not case.mask.any()
        self.warn("The mask of this image is empty: no lesion is outlined." if empty else "")

    def hover(self, x: int, y: int) -> None:
        """Write the value under the mouse."""
        at = picture.found_at(x, y, self.boxes, self.part)
        if at is None:
            self.leave()
            return
        case, side = self.chooser.case, ""
        if case.mask is not None:
            side = f", {'inside' if case.mask[at] else 'outside'} the lesion"
        self.write_under(f"row {at[0]}, column {at[1]}: {case.image[at]:.3f}{side}")

    def drag(self, x: int, y: int, dx: int, dy: int) -> None:
        """Set the grey window."""
        self.greys.drag(dx, dy)
