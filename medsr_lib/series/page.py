"""Pages that open from disk, without a network: one look for all, light, dark and on paper."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medsr_lib.series import readable, report

PAGES = Path(__file__).parent / "pages"
SAVED = re.compile(r"""["']([^"'/\\]+\.png)["']""")
HEADING = re.compile(r'<h([23]) id="([^"]+)">(.*?)(?:<a class="anchor-link".*?)?</h\1>', re.DOTALL)


def render(template: str, **content: Any) -> str:
    """A page of the folder `pages`, with the style sheet in it; everything is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=report.duration,
        value=readable.value,
        entries=readable.entries,
        table=readable.table,
        label=readable.label,
        spelt=readable.spelt,
        count=readable.count,
        interval=readable.interval,
    )
    css = (PAGES / "page.css").read_text(encoding="utf-8") + _code_colours()
    return environment.get_template(template).render(css=css, **content)


def notebook_page(executed: Path, page: Path, *, failed_cell: int | None = None) -> Path:
    """Write an executed notebook as a page that needs no network: equations are MathML.

    The pictures have alternative texts: the caption that the notebook has recorded for the file
    that a cell saves, or the heading above.
    """
    from markupsafe import Markup
    from nbconvert import HTMLExporter

    from medsr_lib.series import clean, mathml

    notebook = clean.executed(clean.read(executed))
    _describe(notebook, _captions(page.with_suffix("")))
    for number, cell in enumerate(clean.code_cells(notebook), start=1):
        cell.metadata.page |= {"number": number, "failed": number == failed_cell}
    exporter = HTMLExporter(
        template_name="basic",
        raw_template=(PAGES / "cells.html.j2").read_text(encoding="utf-8"),
        filters={"markdown2html": mathml.markdown_filter, "accessible": accessible},
        anchor_link_text="#",
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = reachable(body)
    text = render(
        "notebook.html.j2",
        title=report.title_of(notebook),
        body=Markup(body),
        contents=contents(body),
    )
    return report.write(page, text)


def contents(body: str) -> list[dict[str, Any]]:
    """The second and third headings of a page: their level, anchor and text."""
    from markupsafe import Markup

    return [
        {"level": int(level), "anchor": anchor, "text": Markup(re.sub(r"</?a\b[^>]*>", "", text))}
        for level, anchor, text in HEADING.findall(body)
    ]


def accessible(html: str) -> str:
    """A table of pandas with the scope of its headings, in a frame that the keyboard can scroll."""

    def headed(part: str, scope: str) -> str:
        return re.sub(r"<th(?![a-z])(?![^>]*\bscope=)", f'<th scope="{scope}"', part)

    pieces = re.split(r"(<tbody.*?</tbody>)", html, flags=re.DOTALL)
    pieces = [headed(p, "row" if p.startswith("<tbody") else "col") for p in pieces]
    html = re.sub(r"<th([^>]*)>\s*</th>", r"<td\1></td>", "".join(pieces))
    return re.sub(r'<td scope="(?:col|row)"', "<td", html)


def reachable(html: str) -> str:
    """What may be wider than a phone, code and equations, can be scrolled by the keyboard too.

    >>> reachable('<pre>x</pre>')
    '<pre tabindex="0">x</pre>'
    """
    wide = r'<(pre|math(?=[^>]* display="block"))(?![^>]* tabindex=)'
    return re.sub(wide, r'<\1 tabindex="0"', html)


def embedded(path: Path, *, widest: int = 1400) -> str:
    """A picture as a `data:` address, in a palette and not wider than so many pixels."""
    import io

    from PIL import Image

    image = Image.open(path).convert("RGB")
    if image.width > widest:
        size = (widest, round(image.height * widest / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    packed = io.BytesIO()
    image.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode()


def _captions(folder: Path) -> dict[str, str]:
    record = report.load_record(folder) or {}
    return {figure["file"]: figure["caption"] for figure in record.get("figures", [])}


def _describe(notebook: Any, captions: Mapping[str, str]) -> None:
    """Give every code cell the caption of the figure it saves, and the heading above it."""
    heading = report.title_of(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ *(.+)$", cell.source, flags=re.MULTILINE)
            heading = report.without_signs(headings[-1]) if headings else heading
        if cell.cell_type == "code":
            saved = [captions[name] for name in SAVED.findall(cell.source) if name in captions]
            last = "report.record" in cell.source  # names every file
            caption = saved[0] if saved and not last else ""
            cell.metadata.page = {"caption": caption, "heading": heading}


def _code_colours() -> str:
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    rules = f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    return re.sub(r"background: #[0-9a-f]+;?|^pre .*$", "", rules, flags=re.MULTILINE | re.I)
