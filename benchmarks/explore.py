"""The explorers: first picture, a move in the browser, size of a page.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/explore.py
OMP_NUM_THREADS=1 .venv/bin/python benchmarks/explore.py --size 256 --network SRGAN=srgan.pt

The moves are timed in Chromium (the packages of the extra `browser`), without a GPU: from the event
until the canvas can be read, so that what is drawn later is counted too.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from medsr_lib.assess.quality import metrics, regions, score
from medsr_lib.data import figshare, phantom
from medsr_lib.restore import degrade, networks
from medsr_lib.restore.methods import find
from medsr_lib.restore.training import fit
from medsr_lib.show import explore
from medsr_lib.show.explore import base

SCALE = 4
HTML = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body><main><h1>A page</h1><div><figure></figure>{}</div></main></body></html>"""
SEND = """stage => {
    const box = stage.getBoundingClientRect(), pictures = stage.querySelectorAll("canvas");
    stage.setPointerCapture = () => {};
    window.timed = (kind, n, more = {}) => {
        const [x, y] = [box.left + 40 + n, box.top + 80 + n], start = performance.now();
        if (kind.startsWith("pointer")) stage.dispatchEvent(new PointerEvent(kind, {
            clientX: x, clientY: y, pointerId: 1, pointerType: "mouse", ...more }));
        else if (kind === "wheel") stage.dispatchEvent(new WheelEvent(kind, {
            clientX: x, clientY: y, deltaY: n % 2 ? 20 : -20, ctrlKey: true }));
        else stage.dispatchEvent(new KeyboardEvent("keydown", { key: kind }));
        for (const each of pictures) each.getContext("2d").getImageData(9, 9, 1, 1);
        return performance.now() - start;
    };
}"""


def shown(name: str, taken: list[float]) -> None:
    """Print the shortest, which other programs have delayed least, the median and the longest."""
    three = f"{min(taken):8.1f} {statistics.median(taken):8.1f} {max(taken):8.1f}"
    print(f"  {name:<46} {three} ms")


def first(title: str, make: Callable[[], Any], rounds: int) -> Any:
    """Print the time to all that a new explorer sends first."""
    print(title)
    taken, made = [], None
    for _ in range(rounds):
        if made is not None:
            made.close()
        start = time.perf_counter()
        made = make()
        taken.append(1000 * (time.perf_counter() - start))
        assert not made.message, made.message
    shown("made", taken)
    return made


def controlled(made: Any, name: str, values: list[Any]) -> None:
    """Print the time that a control of ipywidgets takes in the kernel."""
    taken = []
    for value in values:
        start = time.perf_counter()
        made.controls[name].value = value
        taken.append(1000 * (time.perf_counter() - start))
    shown(f"{name}, in the kernel", taken)


def in_browser(page: Page, path: Path, rounds: int) -> None:
    """Print first picture and moves of the viewer in a page."""
    ready = "performance.getEntriesByName('medsr-viewer').length > 0"
    taken = []
    for _ in range(3):
        page.goto(path.as_uri())
        page.wait_for_function(ready)
        taken.append(page.evaluate("performance.getEntriesByName('medsr-viewer')[0].startTime"))
    shown("first picture of the page, from its opening", taken)
    page.locator(".mv-stage").evaluate(SEND)

    def timed(kind: str, **more: Any) -> list[float]:
        call = "([kind, rounds, more]) => [...Array(rounds).keys()].map(n => timed(kind, n, more))"
        return list(page.evaluate(call, [kind, rounds, more]))

    shown("pointing: values of all images", timed("pointermove"))
    shown("arrow key", timed("ArrowRight"))
    page.evaluate("timed('pointerdown', 0)")
    shown("dragging the window", timed("pointermove"))
    page.evaluate("timed('pointerup', 0)")
    shown("zoom by the wheel", timed("wheel"))
    shown("difference on and off", timed("d"))
    page.evaluate("timed('2', 0)")
    shown("curtain: pointing", timed("pointermove"))
    for view in ("Side by side", "Curtain", "Flicker"):
        page.get_by_role("button", name=view).click()
        found = Axe().run(page).response["violations"]
        print(f"  axe-core, {view.lower()}: {len(found)} violations")


def viewers(slices: list[Any], methods: dict[str, Any], rounds: int, folder: Path) -> None:
    """The browser of images and the comparator, in the kernel and in a page."""
    made = first("Image browser", lambda: explore.slices(slices), 5)
    controlled(made, "image", [2 + n % (len(slices) - 1) for n in range(rounds)])
    given = {"degrade": degrade.by_name("bicubic", scale=SCALE), "scale": SCALE}
    maps = {"SSIM": partial(metrics.ssim_map, data_range=1)}
    making = partial(explore.methods, slices, methods, **given, maps=maps, regions=regions.regions)
    made = first(f"Comparator, {', '.join(methods)}", making, 5)
    print(f"  sent for an image: {len(made.viewer.data) / 1e6:.1f} MB")
    controlled(made, "image", [*range(2, len(slices) + 1)])
    os.environ[base.FOR_PAGE] = "1"
    start = time.perf_counter()
    bundle = made._repr_mimebundle_()
    taken, size = time.perf_counter() - start, len(bundle[base.PAGE]) / 1e6
    print(f"  viewer of a page, made in {taken:.1f} s: {size:.2f} MB")
    print(f"  its still picture: {len(bundle['image/png']) / 1e3:.0f} kB")
    path = folder / "page.html"
    path.write_text(HTML.format(bundle[base.PAGE]), encoding="utf-8")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    options = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        in_browser(browser.new_page(viewport={"width": 1280, "height": 900}), path, rounds)
        browser.close()


def charts(slices: list[Any], methods: dict[str, Any], rounds: int, folder: Path) -> None:
    """The explorer of scores and the training monitor, which the kernel draws."""
    to_lr = degrade.by_name("bicubic", scale=SCALE)
    table = score.score(methods, slices, degrade=to_lr, scale=SCALE, progress=False)
    made = first("Region statistics", lambda: explore.scores(table, slices), 5)
    controlled(made, "point", [1 + k % len(slices) for k in range(rounds)])
    images = torch.stack([s.image for s in slices[:2]])[:, None]
    fit.fit(
        networks.ESPCN(scale=SCALE), images, degrade=to_lr, steps=300, seed=0, crop=32,
        recipe=fit.Recipe(batch=1), checkpoint=folder / "a_checkpoint.pt",
        progress=False, validation=1 - images[:1], validate_every=50,
    )  # fmt: skip
    made = first("Training monitor", lambda: explore.training(folder, follow=False), 5)
    controlled(made, "step", [1 + k for k in range(rounds)])


def main() -> None:
    """Measure on phantom slices."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom.write_figshare(folder, patients=6, slices_per_patient=2, seed=0, size=args.size)
        slices = [figshare.read_slice(path) for path in figshare.find(folder)]
        methods = find(["nearest", "bicubic", "lanczos", *args.network], scale=SCALE)
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
        print(f"{args.size} x {args.size}, {torch.get_num_threads()} threads, load {load:.1f}")
        viewers(slices, methods, args.rounds, folder)
        charts(slices, methods, args.rounds, folder)


if __name__ == "__main__":
    main()
