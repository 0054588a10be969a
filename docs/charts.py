"""Draw the charts of the pages of results from the rows in docs/results.

.venv/bin/python docs/charts.py         -> docs/pictures/brain.png, docs/pictures/atlas.png
"""

import io
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image
from results.recompute import atlas, brain, text

from medsr_lib.show.style import PHONE, STYLE, colours

HERE = Path(__file__).parent
METHODS = ["linear", "ESPCN", "SRResNet", "SRGAN", "SRMD", "esrgan-slim"]
MARKERS = dict(zip(METHODS, "soDPv^", strict=True))
SCALE = 4  # of the atlas
LEFT = -4.0  # dB; what is worse is an arrow


def main() -> None:
    """Draw each chart and write it."""
    rows = brain.means_by_region()["ssim"].unstack("method")
    table = rows.rename(index=text.REGIONS).loc[list(text.REGIONS.values())]
    write("brain", draw(table.sub(table["bicubic"], axis=0)))
    write("atlas", draw_atlas(atlas_gains()))


def write(name: str, figure: Figure) -> None:
    """As a small PNG of few colours."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=200, facecolor="white")
    out = HERE / "pictures" / f"{name}.png"
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


def atlas_gains() -> pd.DataFrame:
    """The gain in PSNR in the tumour over the linear filter, a row per method and degradation;
    networks of ours are those that were trained for it."""
    found = []
    for kind, lr in atlas.KINDS.items():
        for method in atlas.atlas_methods(SCALE, kind):
            of, _, trained = method.partition(", ")
            if method == "linear" or trained not in ("", kind):
                continue
            e = atlas.atlas_gain(SCALE, kind, method, "tumour", "linear")
            title = f"{of}, ours" if trained else atlas.ATLAS[method]
            found.append(
                {"method": title, "lr": lr, "value": e.value, "low": e.low, "high": e.high}
            )
    return pd.DataFrame(found)


def draw_atlas(gains: pd.DataFrame) -> Figure:
    """A row for each method, the best of its worst degradation on top; a point with its interval
    for each degradation. What lies left of the axis is an arrow with its value."""
    worst = gains.groupby("method")["value"].min().sort_values()
    place = {method: row for row, method in enumerate(worst.index)}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(PHONE, 4.8), layout="constrained")
        axes.axvline(0, color="#777777", lw=1)
        axes.text(0, 1.01, "linear filter", ha="center", transform=axes.get_xaxis_transform())
        for number, (lr, colour) in enumerate(colours(gains["lr"].unique()).items()):
            of = gains[gains["lr"] == lr]
            y = of["method"].map(place) + 0.22 * (1 - number)
            kept = of["value"] > LEFT
            ends = [of["value"] - of["low"], of["high"] - of["value"]]
            axes.errorbar(
                *(of["value"][kept], y[kept]),
                xerr=[end[kept] for end in ends],
                fmt="sDo"[number],
                ms=6,
                color=colour,
                label=f"LR by {lr}",
            )
            for value, height in zip(of["value"][~kept], y[~kept]):
                axes.plot(LEFT, height, "<", ms=7, color=colour)
                said = f"  {value:.1f}".replace("-", "−")
                axes.text(LEFT, height, said, va="center", color=colour)
        axes.set_yticks([*place.values()], [*place])
        axes.set_xlim(left=LEFT - 0.15)
        axes.grid(axis="y", color="#E5E5E5")
        axes.set_xlabel(f"gain in PSNR in the tumour over the linear filter, ×{SCALE}, dB")
        figure.legend(loc="outside lower center", ncols=3)
        better = gains.groupby("method")["low"].min() > 0
        said = f"{better.sum()} of {len(better)} methods beat the linear filter on every LR"
        axes.set_title(said, pad=18, loc="left")
    plt.close(figure)
    return figure


if __name__ == "__main__":
    main()
