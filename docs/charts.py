"""Draw the chart of docs/results-brain.md from the rows in docs/results.

.venv/bin/python docs/charts.py                             -> docs/pictures/brain.png
"""

import io
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from results import recompute

from medsr_lib.show.style import PHONE, STYLE, colours

HERE = Path(__file__).parent
METHODS = ["linear", "ESPCN", "SRResNet", "SRGAN", "SRMD", "esrgan-slim"]
MARKERS = dict(zip(METHODS, "soDPv^", strict=True))


def main() -> None:
    """Take the means by region and write the chart."""
    rows = recompute.means_by_region()["ssim"].unstack("method")
    table = rows.rename(index=recompute.REGIONS).loc[list(recompute.REGIONS.values())]
    buffer = io.BytesIO()
    draw(table.sub(table["bicubic"], axis=0)).savefig(buffer, dpi=200, facecolor="white")
    out = HERE / "pictures" / "brain.png"
    Image.open(buffer).convert("RGB").quantize(64).save(out, optimize=True)
    print(out, f"{out.stat().st_size / 1000:.0f} kB")


def draw(gains: pd.DataFrame) -> Figure:
    """Gains over bicubic (region x method) as points on a line for each region."""
    order = gains["SRMD"].sort_values().index
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PHONE, 3.8), layout="constrained")
        axes.axvline(0, color="#777777", lw=1)
        axes.text(0, 1.01, "bicubic", ha="center", transform=axes.get_xaxis_transform(), size=9)
        for name, colour in colours(MARKERS).items():
            axes.plot(gains.loc[order, name], order, MARKERS[name], ms=8, color=colour, label=name)
        axes.grid(axis="y", color="#E5E5E5")
        axes.set_xlabel("gain in SSIM over bicubic interpolation, mean over slices")
        figure.legend(loc="outside lower center", ncols=3)
        axes.set_title(f"The gain is largest at the {order[-1]}", pad=18, loc="left")
    plt.close(figure)
    return figure


if __name__ == "__main__":
    main()
