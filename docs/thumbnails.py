"""Cut the small pictures of the notebooks in README.md out of the outputs that they keep.

.venv/bin/python docs/thumbnails.py                         -> docs/pictures/01.png to 09.png
"""

import base64
import io
import json
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 320, 200  # pixels; shown at half of that
FIGURES = {  # by notebook: the file name under which a cell saves the figure
    "01": "gallery.png",
    "02": "comparison.png",
    "03": "strip.png",
    "04": "primary_contrast.png",
    "05": "invention.png",
    "06": "inserted.png",
    "07": "robustness.png",
    "08": "denoised.png",
    "09": "attention.png",
}


def main() -> None:
    """Write a thumbnail for each notebook."""
    PICTURES.mkdir(exist_ok=True)
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        number = path.name[:2]
        image = figure(json.loads(path.read_text(encoding="utf-8")), FIGURES[number])
        out = PICTURES / f"{number}.png"
        thumbnail(image).quantize(64).save(out, optimize=True)
        print(out, f"{out.stat().st_size / 1000:.0f} kB")


def figure(notebook: dict, name: str) -> Image.Image:
    """The picture that the cell shows which saves the file `name`."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}) and f'"{name}"' in "".join(cell["source"]):
                return Image.open(io.BytesIO(base64.b64decode(output["data"]["image/png"])))
    raise LookupError(f"no cell saves a figure as {name!r} and shows it")


def thumbnail(image: Image.Image) -> Image.Image:
    """The figure's whole width, and of its height what fits."""
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    height = round(image.height * WIDTH / image.width)
    small = flat.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    return small.crop((0, 0, WIDTH, min(height, HEIGHT)))


if __name__ == "__main__":
    main()
