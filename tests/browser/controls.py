"""The controls of an explorer as a hand finds them on the page, and the picture below them."""

import time
from dataclasses import dataclass

KINDS = {"slider": ".medsr-slider", "dropdown": ".widget-dropdown", "checkbox": ".widget-checkbox"}
EVERY = ", ".join(KINDS.values())
NEEDS = {  # what a control shows nothing without: beginning of its label -> another, its setting
    "Label": ("Image", "End"),
    "Patient": ("Image", "End"),
    "Points in order of": ("Point,", "Home"),
}
NO_PICTURE = {  # beginning of its label -> why the picture stays as it is
    "Follow": "starts and stops looking for what a training writes",
}
PATIENCE, QUIET = 5.0, 0.1
"""Seconds in which the picture has to change, and after which it has ceased to."""


@dataclass
class Control:
    """A slider, a drop-down list or a box to tick."""

    label: str
    kind: str
    where: object  # its locator

    @property
    def handle(self):
        """What takes the focus."""
        inner = {"slider": "input", "dropdown": "select", "checkbox": "input"}[self.kind]
        return self.where.locator(inner)

    @property
    def movable(self) -> bool:
        """Whether it is shown and there is more than one thing to choose."""
        if not self.where.is_visible():
            return False
        if self.kind == "slider":
            return self.handle.evaluate("e => e.min !== e.max")
        return self.kind == "checkbox" or self.handle.locator("option").count() > 1

    def by_mouse(self) -> None:
        """Drag to the other half, choose the last or first, or click."""
        if self.kind == "slider":
            track = self.handle.bounding_box()
            other = 0.1 if self.handle.evaluate("e => 2 * e.value > +e.min + +e.max") else 0.9
            self.handle.click(position={"x": other * track["width"], "y": track["height"] / 2})
        elif self.kind == "dropdown":
            # The list itself is the browser's, not the page's: a mouse in a test cannot reach it.
            last = self.handle.locator("option").count() - 1
            self.handle.select_option(index=0 if self._at_last() else last)
        else:
            self.handle.click()

    def by_keyboard(self) -> None:
        """Reach it by Tab from where the focus is, then press a key of the control."""
        keyboard = self.where.page.keyboard
        for _ in range(4):
            if self.has_focus:
                break
            keyboard.press("Tab")
        assert self.has_focus, f"Tab does not lead to {self.label}"
        if self.kind == "slider":
            back = self.handle.evaluate("e => 2 * e.value > +e.min + +e.max")
            before = self.handle.input_value()
            keyboard.press("ArrowLeft" if back else "ArrowRight")
            assert self.handle.input_value() != before, f"an arrow key does not move {self.label}"
            keyboard.press("Home" if back else "End")
        elif self.kind == "dropdown":
            keyboard.press("Home" if self._at_last() else "End")
        else:
            keyboard.press("Space")

    def set_to(self, setting) -> None:
        """Press a key, tick or not, or choose by number."""
        if self.kind == "slider":
            self.handle.press(setting)
        elif self.kind == "checkbox":
            self.handle.set_checked(setting)
        else:
            self.handle.select_option(index=setting)

    @property
    def has_focus(self) -> bool:
        """Whether keys go to it."""
        return self.handle.evaluate("e => e === document.activeElement")

    def _at_last(self) -> bool:
        return self.handle.evaluate("e => e.selectedIndex == e.options.length - 1")


class Explorer:
    """The controls above a picture, the viewer, or both."""

    def __init__(self, cell) -> None:
        self.cell, self.page = cell, cell.page
        self.stage = cell.locator(".mv-stage")
        self.has_viewer = self.stage.count() > 0 and self.stage.is_visible()
        cell.scroll_into_view_if_needed()

    @property
    def controls(self) -> list[Control]:
        """All of them but those of the viewer, in the order of Tab."""
        every = self.cell.locator(EVERY)
        names = every.evaluate_all("""all => all.map(e => [
            e.className.match(/(slider|dropdown|checkbox)/)[1],
            [...e.querySelectorAll("label")].map(l => l.textContent).join("")])""")
        return [
            Control(label.strip("\u200b "), kind, every.nth(n))
            for n, (kind, label) in enumerate(names)
        ]

    def enter(self) -> None:
        """Put the focus on the first control; Tab goes on from there."""
        self.controls[0].handle.focus()

    def look(self) -> str:
        """A digest of what it shows: the source of the picture, the viewer's pixels, the notes."""
        return self.cell.evaluate("""cell => {
            const shown = [
            ...[...cell.querySelectorAll("img")].map(i => i.src),
            ...[...cell.querySelectorAll(".mv-stage canvas:first-child")].map(c => c.toDataURL()),
            cell.querySelector(".jp-Cell-outputArea").innerText].join();
            let a = 0, b = 0;
            for (let n = 0; n < shown.length; n++) {
                a = Math.imul(a, 31) + shown.charCodeAt(n) | 0;
                b = Math.imul(b ^ shown.charCodeAt(n), 0x01000193);
            }
            return [shown.length, a, b].join();
        }""")

    def prepare(self, control: Control) -> None:
        """Set what the control shows nothing without; the focus stays where it is."""
        other, setting = next(
            (n for label, n in NEEDS.items() if control.label.startswith(label)), (None, None)
        )
        if other:
            focus = self.page.evaluate_handle("document.activeElement")
            next(c for c in self.controls if c.label.startswith(other)).set_to(setting)
            focus.evaluate("e => e.focus()")

    def seconds_to_change(self, move, look=None) -> float | None:
        """How long after a movement the picture, or what `look` sees, is another; None: never."""
        look = look or self.look
        before = settled(look)
        move()
        start = time.monotonic()
        while time.monotonic() - start < PATIENCE:
            if look() != before:
                return time.monotonic() - start
            time.sleep(0.05)
        return None


def settled(look) -> str:
    """What is seen once it has ceased to change."""
    before, now = None, look()
    while now != before:
        time.sleep(QUIET)
        before, now = now, look()
    return now


def explorers(page) -> list[Explorer]:
    """Those of a notebook."""
    cells = page.locator(f".jp-CodeCell:has({EVERY})")
    return [Explorer(cells.nth(n)) for n in range(cells.count())]
