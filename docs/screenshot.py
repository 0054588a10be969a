"""Photograph the page of a run for README.md, and the explorer of notebook 04 with its controls.

python3 tasks.py run                                        -> runs/demo/index.html
.venv/bin/python docs/screenshot.py runs/demo               -> docs/pictures/page.png, ...

It needs Chromium and `pip install -c constraints.txt -e '.[browser]'`. The run must be one on the
embedded synthetic data: a picture of a real slice does not belong into this repository.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS = {"page.png": 1000, "page_phone.png": 390}  # pixels of CSS
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Open the page with the network cut and keep its top: the answer, slide and numbers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, such as runs/demo")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures")
    arguments = parser.parse_args()
    page = (arguments.run / "index.html").resolve()
    if "synthetic" not in page.read_text(encoding="utf-8"):
        parser.error(f"{page} does not say that its data are synthetic")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            size = {"width": width, "height": 900}
            looks = {"color_scheme": "light", "offline": True, "device_scale_factor": 1.5}
            tab = browser.new_context(viewport=size, **looks).new_page()
            tab.goto(page.as_uri())
            tab.locator(".first img").evaluate("image => image.decode()")
            end = tab.locator(".contents").bounding_box()["y"] - 8
            part = {"x": 0, "y": 0, "width": width, "height": end}
            keep(tab.screenshot(full_page=True, clip=part), arguments.out / name)
        tab = browser.new_page(viewport={"width": 1100, "height": 900})
        tab.goto((arguments.run / "04_regional_ssim.html").resolve().as_uri())
        keep(tab.locator(".mv-page").screenshot(), arguments.out / "explorer.png")
        browser.close()


def keep(picture: bytes, file: Path) -> None:
    """Write a picture with few colours."""
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128).save(file, optimize=True)
    print(file, f"{file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
