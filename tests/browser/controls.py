"""The controls of an explorer as a hand finds them on the page, and the picture below them."""

import time
from dataclasses import dataclass

KINDS = {"slider": ".widget-slider", "dropdown": ".widget-dropdown", "checkbox": ".widget-checkbox"}
EVERY = ", ".join(KINDS.values())
NEEDS = {  # what a control shows nothing without: beginning of its label -> another, its setting
    "Label": ("Image", "End"),
    "Patient": ("Image", "End"),
    "Zoom on the": ("Pixels around the", "Home"),
    "Pixels around the": ("Zoom on the", True),
    "Points in order of": ("Point,", "Home"),
    "Overlay: strength": ("Overlay", 1),
    "Swipe": ("View", 1),
    "View": ("Zoom on the", True),
    "": ("View", 0),  # all others, where there is a view to choose
}
NO_PICTURE = {  # beginning of its label -> why the picture stays as it is
    "Follow": "starts and stops looking for what a training writes",
}
PATIENCE, QUIET = 5.0, 0.1
"""Seconds in which the picture has to change, and after which it has ceased to."""
PIXELS = """async image => {
    try { await image.decode(); } catch { return ""; }  // another is on its way
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const digest = await crypto.subtle.digest("SHA-256", pixels);
    return canvas.width + " " + [...new Uint8Array(digest)].join();
}"""


@dataclass
class Control:
    """A slider, a drop-down list or a box to tick."""

    label: str
    kind: str
    where: object  # its locator

    @property
    def handle(self):
        """What takes the focus."""
        inner = {"slider": ".noUi-handle", "dropdown": "select", "checkbox": "input"}[self.kind]
        return self.where.locator(inner)

    @property
    def movable(self) -> bool:
        """Whether it is shown and there is more than one thing to choose."""
        if not self.where.is_visible():
            return False
        if self.kind == "slider":
            ends = [self.handle.get_attribute(f"aria-value{end}") for end in ("min", "max")]
            return ends[0] != ends[1]
        return self.kind == "checkbox" or self.handle.locator("option").count() > 1

    def by_mouse(self) -> None:
        """Drag to the other half, choose the last or first, or click."""
        if self.kind == "slider":
            track, knob = self.where.locator(".noUi-target").bounding_box(), self._middle()
            other = 0.3 if knob[0] > track["x"] + track["width"] / 2 else 0.7
            mouse = self.where.page.mouse
            mouse.move(*knob)
            mouse.down()
            mouse.move(track["x"] + other * track["width"], knob[1], steps=2)
            mouse.up()
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
            low, now, high = (float(self._value(name)) for name in ("min", "now", "max"))
            back, before = now > (low + high) / 2, self._value("text")
            keyboard.press("ArrowLeft" if back else "ArrowRight")
            assert self._value("text") != before, f"an arrow key does not move {self.label}"
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

    def _value(self, which: str) -> str | None:
        return self.handle.get_attribute(f"aria-value{which}")

    def _middle(self) -> tuple[float, float]:
        box = self.handle.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def _at_last(self) -> bool:
        return self.handle.evaluate("e => e.selectedIndex == e.options.length - 1")


class Explorer:
    """The controls above one picture."""

    def __init__(self, cell) -> None:
        self.cell, self.page = cell, cell.page
        self.image = cell.locator("img.widget-image")
        self.image.scroll_into_view_if_needed()
        self._seen = (None, "")

    @property
    def controls(self) -> list[Control]:
        """All of them, in the order of Tab."""
        every = self.cell.locator(EVERY)
        names = every.evaluate_all("""all => all.map(e => [
            e.className.match(/widget-(slider|dropdown|checkbox)/)[1],
            [...e.querySelectorAll("label")].map(l => l.textContent).join("")])""")
        return [
            Control(label.strip("\u200b "), kind, every.nth(n))
            for n, (kind, label) in enumerate(names)
        ]

    def enter(self) -> None:
        """Put the focus on the first control; Tab goes on from there."""
        self.controls[0].handle.focus()

    def pixels(self) -> str:
        """What the picture shows, as a hash; looked at again only where the page has a new file."""
        source = self.image.get_attribute("src")
        if source != self._seen[0]:
            while not (found := self.image.evaluate(PIXELS)):
                source = self.image.get_attribute("src")
            self._seen = source, found
        return self._seen[1]

    def text(self) -> str:
        """All that is written in it."""
        return self.cell.locator(".jp-Cell-outputArea").inner_text()

    def point_at(self, across: float, down: float) -> None:
        """Move the mouse to a place in the picture, in parts of its width and height."""
        self.image.scroll_into_view_if_needed()
        box = self.image.bounding_box()
        at = box["x"] + across * box["width"], box["y"] + down * box["height"]
        self.page.mouse.move(*at, steps=3)

    def click(self, across: float, down: float) -> None:
        """Click there."""
        self.point_at(across, down)
        self.page.mouse.down()
        self.page.mouse.up()

    def drag(self, across: float, down: float) -> None:
        """Drag from there towards the middle."""
        self.point_at(across, down)
        self.page.mouse.down()
        self.point_at((across + 0.5) / 2, (down + 0.5) / 2)
        self.page.mouse.up()

    def prepare(self, control: Control) -> None:
        """Set what the control shows nothing without; the focus stays where it is."""
        focus = self.page.evaluate_handle("document.activeElement")
        other, setting = next(n for label, n in NEEDS.items() if control.label.startswith(label))
        for found in self.controls:
            if found.label.startswith(other):
                found.set_to(setting)
                break
        focus.evaluate("e => e.focus()")

    def seconds_to_change(self, move, look=None) -> float | None:
        """How long after a movement the picture, or what `look` sees, is another; None: never."""
        look = look or self.pixels
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
    cells = page.locator(".jp-CodeCell:has(img.widget-image)")
    return [Explorer(cells.nth(n)) for n in range(cells.count())]
