"""Photograph the page of a run for README.md.

python3 tasks.py run                                        -> runs/demo/index.html
.venv/bin/python docs/screenshot.py runs/demo               -> docs/pictures/page.png

It needs Chromium and `pip install -c constraints.txt -e '.[browser]'`. The run must be one on the
embedded synthetic data: a picture of a real slice does not belong into this repository.
"""

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 900}
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Open the page with the network cut and keep its first screen."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run, such as runs/demo")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "pictures/page.png")
    arguments = parser.parse_args()
    page = (arguments.run / "index.html").resolve()
    if "synthetic" not in page.read_text(encoding="utf-8"):
        parser.error(f"{page} does not say that its data are synthetic")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(viewport=SIZE, color_scheme="light", offline=True)
        tab = context.new_page()
        tab.goto(page.as_uri())
        picture = tab.screenshot()
        browser.close()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(128).save(arguments.out, optimize=True)
    print(arguments.out, f"{arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
