"""A page: its frame and style sheet, and an executed notebook as one."""

import re
import zlib
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from medsr_lib.series import report
from medsr_lib.series.notebook import Notebook, plain
from medsr_lib.series.pages import formatting

TEMPLATES = Path(__file__).parent / "templates"
SAVED = re.compile(r"""["']([^"'/\\]+\.png)["']""")
# none of these may run over a page twice, however its tags are broken: they end at the next "<"
HEADING = re.compile(r'<h([23]) id="([^"<>]+)">((?:[^<]++|<(?!/?h[23]\b))*+)</h\1>')
FILTERS = ("value", "entries", "table", "label", "spelt", "count", "interval", "duration")
NAMED = re.compile(  # the head of a table of pandas, and below it the names of its index
    r"(<thead>\s*+<tr[^<>]*+>\s*+)(?:<th>\s*+</th>\s*+)++((?:<th[^<>]*+>[^<>]++</th>\s*+)++)</tr>\s*+"
    r"<tr>\s*+((?:<th>[^<>]++</th>\s*+)++)(?:<th>\s*+</th>\s*+)++</tr>"
)
COMMENT = re.compile(rb"Comment\0+([^.\0]{1,60})\.")  # as `show.style.drawn` leaves it


def render(template: str, **content: Any) -> str:
    """A page from a template, with the style sheet in it; everything is escaped."""
    css = (TEMPLATES / "page.css").read_text(encoding="utf-8") + _code_colours()
    return _environment().get_template(template).render(css=css, **content)


@cache
def _environment() -> Any:
    """Where templates come from; it keeps those that it has compiled."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(formatting, name) for name in FILTERS})
    environment.tests["estimate"] = formatting.is_estimate
    return environment


def write(
    notebook: Notebook,
    path: Path,
    *,
    record: Mapping[str, Any] | None = None,
    failed_cell: int | None = None,
) -> Path:
    """Write an executed notebook as a page that needs no network: equations are MathML.

    The pictures have alternative texts: the caption that the notebook has recorded for the file
    that a cell saves, or the heading above. Code is folded under its purpose: the comment that it
    begins with, or that heading.

    Args:
        notebook: with its outputs, cleaned by `outputs.clean`.
        path: of the page.
        record: the content of its `results.json`.
        failed_cell: the code cell that stopped the run, counted from 1.
    """
    from markupsafe import Markup
    from nbconvert import HTMLExporter

    from medsr_lib.series.pages import mathml

    _describe(notebook, {f["file"]: f for f in figures(path.parent / notebook.name, record)})
    for number, cell in enumerate(notebook.code, start=1):
        cell.metadata.page |= {"number": number, "failed": number == failed_cell}
    exporter = HTMLExporter(
        template_name="basic",
        raw_template=(TEMPLATES / "cells.html.j2").read_text(encoding="utf-8"),
        filters={of.__name__: of for of in (accessible, unbroken, kind)}
        | {"markdown2html": mathml.markdown_filter},
        anchor_link_text="#",
    )
    body, _ = exporter.from_notebook_node(notebook.content)
    body = reachable(body)
    contents = [
        {"level": int(level), "anchor": anchor, "text": Markup(re.sub(r"</?a\b[^<>]*>", "", text))}
        for level, anchor, inner in HEADING.findall(body)
        for text in [inner.partition('<a class="anchor-link"')[0]]
    ]
    text = render("notebook.html.j2", title=notebook.title, body=Markup(body), contents=contents)
    return report.write(path, text)


def accessible(html: str) -> str:
    """A table of pandas with one row of headings and their scope, and numbers for people."""
    pieces = re.split(r"(?=<tbody)|(?<=</tbody>)", NAMED.sub(r"\1\3\2</tr>", html))
    for n, piece in enumerate(pieces):
        if piece.startswith("<tbody"):
            piece = unbroken(piece).replace("<td>NaN</td>", "<td>–</td>")
            piece = re.sub(r"(?<=<td>)-(?=[\d.])", "−", piece)
        headed = f'<th scope="{"row" if piece.startswith("<tbody") else "col"}"'
        pieces[n] = re.sub(r"<th(?![a-z])(?![^<>]*\bscope=)", headed, piece)
    html = re.sub(r"<th([^<>]*)>\s*</th>", r"<td\1></td>", "".join(pieces))
    return re.sub(r'<td scope="(?:col|row)"', "<td", html)


def unbroken(html: str) -> str:
    """Intervals are not broken over two lines."""
    return re.sub(r"\[[^][<>]{3,40}\]", r'<span class="n">\g<0></span>', html)


def reachable(html: str) -> str:
    """What may be wider than a phone, code and equations, can be scrolled by the keyboard too.

    >>> reachable('<pre>x</pre>')
    '<pre tabindex="0">x</pre>'
    """
    wide = r'<(pre|math(?=[^<>]* display="block"))(?![^<>]* tabindex=)'
    return re.sub(wide, r'<\1 tabindex="0"', html)


def kind(png: str | bytes) -> str:
    """Of a figure: "chart", which has a transparent ground and may be inverted, or "picture"."""
    try:
        data = b64decode(png) if isinstance(png, str) else png
        first = zlib.decompressobj().decompress(data[data.index(b"IDAT") + 4 :], 5)
    except (ValueError, zlib.error):
        return "picture"
    return "chart" if data[24:26] == b"\x08\x06" and first[4:] == b"\0" else "picture"


def figures(folder: Path, record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The figures that a notebook has recorded: file, `upright` for a phone, caption, kind, n."""
    found = []
    for figure in (record or {}).get("figures") or []:
        data, upright = b"", f"{Path(figure['file']).stem}_upright.png"
        with suppress(OSError, ValueError), (folder / figure["file"]).open("rb") as file:
            data = file.read(65_536)  # the first pixel is there
            upright = upright if (folder / upright).is_file() else ""
        comment = COMMENT.search(data)
        about = {"kind": kind(data), "n": comment[1].decode(errors="replace") if comment else ""}
        n = formatting.behind(figure | about, (record or {}).get("values") or {})
        found.append(figure | about | {"n": n, "upright": upright if data else ""})
    return found


def _describe(notebook: Notebook, known: Mapping[str, Any]) -> None:
    """Give code cells their purpose, said once, heading, and the caption of the figure, with n."""
    heading, before = notebook.title, ""
    for cell in notebook.content.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ *(.+)$", cell.source, flags=re.MULTILINE)
            heading = plain(headings[-1]) if headings else heading
        if cell.cell_type == "code":
            saved = [known[name] for name in SAVED.findall(cell.source) if name in known]
            last = "report.record" in cell.source  # names every file
            comment = re.match(r"# *(.+)", cell.source)
            about = saved[0] if saved and not last else {}
            purpose = comment[1] if comment else heading if heading != notebook.title else "Set-up"
            once = purpose if purpose != before else ""
            cell.metadata.page = {**about, "heading": heading, "purpose": once}
            before = purpose


def _code_colours() -> str:
    from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    rules = f"{light}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
    return re.sub(r"background: #[0-9a-f]+;?|^pre .*$", "", rules, flags=re.MULTILINE | re.I)
