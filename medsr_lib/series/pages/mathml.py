"""Markdown to HTML whose equations a browser shows by itself: LaTeX becomes MathML."""

import html
import re
from typing import Any
from xml.etree.ElementTree import tostring

from jinja2 import pass_context
from latex2mathml import exceptions
from latex2mathml.converter import Converter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

UNREADABLE: tuple[type[Exception], ...] = tuple(
    e for e in vars(exceptions).values() if isinstance(e, type) and issubclass(e, Exception)
)
# What latex2mathml does not know, and is replaced by what it knows.
ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|align\*?|split)\}")
WRAPPER = re.compile(r"\\(?:begin|end)\{(?:equation|displaymath)\*?\}")
FUNCTIONS = re.compile(r"\\(arg|mse|var)(?![A-Za-z])")


def mathml(latex: str, *, display: bool) -> str:
    """An equation as a MathML element; as code where it cannot be read."""
    as_code = f'<code class="latex">{html.escape(latex.strip())}</code>'
    source = WRAPPER.sub("", latex)
    source = ALIGNED.sub(
        lambda m: r"\begin{array}{rl}" if m[1] == "begin" else r"\end{array}", source
    )
    source = FUNCTIONS.sub(r"\\operatorname{\1}", source)
    try:
        element = Converter(display="block" if display else "inline").convert_to_element(source)
    except UNREADABLE:
        return as_code
    if ALIGNED.search(latex):  # aligned equations are as large as others
        for table in element.iter("mtable"):
            table.attrib.update({"displaystyle": "true", "class": "aligned"})
    element.attrib.pop("xmlns", None)  # HTML knows MathML by its tag
    for node in element.iter():  # the converter writes characters as entities
        node.text = html.unescape(node.text or "") or None
        if (node.text or "").startswith("\\"):
            return as_code
    return tostring(element, encoding="unicode")


def to_html(source: str, attachments: dict[str, dict[str, str]] | None = None) -> str:
    """Markdown with $equations$ as HTML; links to notebooks lead to their pages."""
    return str(MarkdownWithMath(_Renderer(escape=False, attachments=attachments)).render(source))


class _Renderer(IPythonRenderer):
    """nbconvert's renderer, with equations in MathML."""

    def inline_math(self, body: str) -> str:
        if body != body.strip() or "`" in body:  # two prices, not an equation
            return f"${html.escape(body, quote=False)}$"
        return mathml(body, display=False)

    def block_math(self, body: str) -> str:
        return mathml(body, display=True)

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(f"\\begin{{{name}}}{body}\\end{{{name}}}", display=True)

    def link(self, text: str, url: str, title: str | None = None) -> str:
        if "://" not in url:
            url = re.sub(r"\.ipynb(?=$|#)", ".html", url)
        return str(super().link(text, url, title))

    def block_mermaidjs(self, code: str) -> str:
        return f"<pre>{html.escape(code)}</pre>"


@pass_context
def markdown_filter(context: Any, source: str) -> str:
    """`to_html` as nbconvert's filter `markdown2html`, which knows a cell's pasted images."""
    return to_html(source, context.get("cell", {}).get("attachments"))
