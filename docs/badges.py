"""Write the badges of README.md, which say what pyproject.toml says.

.venv/bin/python docs/badges.py                         -> docs/pictures/badge-python.svg, ...
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = Path(__file__).parent / "pictures"
DRAWN = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20">
  <title>{left}: {right}</title>
  <rect width="{width}" height="20" rx="3" fill="{colour}"/>
  <path d="M3 0H{edge}V20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3" fill="#4a4f55"/>
  <g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">
    <text x="{of_left}" y="14">{left}</text>
    <text x="{of_right}" y="14">{right}</text>
  </g>
</svg>
"""


def main() -> None:
    """Write them."""
    for (left, right), colour in zip(texts().items(), ("#0b5c9e", "#2b6e3f", "#7a4a00")):
        (PICTURES / f"badge-{left.lower()}.svg").write_text(badge(left, right, colour))


def texts() -> dict[str, str]:
    """What they say, left and right."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = project["requires-python"].removeprefix(">=")
    return {
        "Python": f"{least} or newer",
        "licence": project["license"],
        "use": "research only",
    }


def badge(left: str, right: str, colour: str) -> str:
    """An SVG of two words, about 7 pixels a letter."""
    edge, width = 7 * len(left) + 14, 7 * (len(left) + len(right)) + 28
    return DRAWN.format(
        left=left, right=right, colour=colour, edge=edge, width=width,
        of_left=edge / 2, of_right=(edge + width) / 2,
    )  # fmt: skip


if __name__ == "__main__":
    main()
