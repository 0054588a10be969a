"""The documentation site: `python3 tasks.py docs` builds it into docs/_build/html.

The project's folder is Sphinx's source folder, so that a link from a page to a notebook is the same
in the repository and in the site. Nothing is executed, and nothing is fetched: equations become
MathML, which browsers show by themselves.
"""

import ast
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.parsing import nested_parse_to_nodes
from sphinx.writers.html5 import HTML5Translator

import medsr_lib
from medsr_lib.series.pages.mathml import mathml

ROOT = Path(__file__).parents[1]

project = "medsr"
author = "the medsr authors"
version = release = medsr_lib.__version__
html_title = "medsr"
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    *("docs/**.md", "notebooks/*.ipynb", "kaggle/README.md", "benchmarks/README.md"),
    *("CONTRIBUTING.md", "CHANGELOG.md"),
]
exclude_patterns = ["**/_build", "**/.*", ".*", "data", "medsr_lib", "runs", "tests"]

nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # scripts from a CDN; pictures stand for widgets
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
default_role = "py:obj"
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_extra_path = ["site/root"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False


class Modules(SphinxDirective):
    """Document the modules of a package: `.. modules:: medsr_lib.data`.

    Names after it are its folders that have a page of their own; `.` leaves out all folders.
    """

    required_arguments = 1
    optional_arguments = 10

    def run(self) -> list[nodes.Node]:
        """Have autodoc document what each module defines under a public name."""
        package, *elsewhere = self.arguments
        folder = ROOT.joinpath(*package.split("."))
        lines = []
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder).parts
            if len(inside) > 1 and ("." in elsewhere or inside[0] in elsewhere):
                continue
            names = documented(ast.parse(path.read_text(encoding="utf-8")))
            if names:
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                title = module.removeprefix("medsr_lib.").removesuffix(".__init__")
                lines += [title, "-" * len(title), "", f".. automodule:: {module}"]
                lines += [f"   :members: {', '.join(names)}", ""]
        if not lines:
            raise self.error(f"{package} has no modules with public names")
        return nested_parse_to_nodes(self.state, "\n".join(lines), allow_section_headings=True)


def documented(module: ast.Module) -> list[str]:
    """The public functions, classes and described constants that a module defines."""
    names = []
    for node, after in zip(module.body, [*module.body[1:], None], strict=True):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            described = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            names += [target.id] if isinstance(target, ast.Name) and described else []
    return [name for name in names if not name.startswith("_")]


def as_restructured_text(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """What docstrings write plainly: |x| is a size, a table has bars, and what is indented after a
    colon stays as it is.

    (Sphinx's event autodoc-process-docstring; `lines` is changed in place.)
    """
    found: list[str] = []
    literal = False
    for i, line in enumerate(lines):
        after = lines[i + 2] if i + 2 < len(lines) else ""
        if line.startswith("|"):
            found += table_row(line, first=not lines[i - 1])
        elif line.endswith(":") and lines[i + 1 : i + 2] == [""] and indent(after) > indent(line):
            literal = True
            found.append(f"{line}:")
        else:
            literal = literal and (not line or line.startswith("    "))
            plain = literal or line.lstrip().startswith((">>>", "..."))
            found.append(line if plain else line.replace("|", r"\|"))
    lines[:] = found


def indent(line: str) -> int:
    """The blanks that a line begins with."""
    return len(line) - len(line.lstrip())


def table_row(line: str, *, first: bool) -> list[str]:
    """A row of a Markdown table as one of a list-table, which its first row begins."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if set("".join(cells)) <= {"-", ":"}:
        return []
    begin = [".. list-table::", "   :header-rows: 1", ""] if first else []
    marks = ["   * -", *["     -"] * (len(cells) - 1)]
    return begin + [f"{mark} {cell}" for mark, cell in zip(marks, cells, strict=True)]


def of_a_tuple(app: Sphinx, what: str, name: str, obj: object, skip: bool, options: object) -> bool:
    """Leave out the fields of named tuples, which their class describes already."""
    return skip or str(getattr(obj, "__doc__", "")).startswith("Alias for field number")


def inline_equation(translator: HTML5Translator, node: nodes.math) -> None:
    """Write an equation in a line of text."""
    translator.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def block_equation(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write an equation on a line of its own."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), display=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Add what the pages need beyond the extensions."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", as_restructured_text, priority=100)  # before napoleon
    app.add_html_math_renderer("mathml", (inline_equation, None), (block_equation, None))
    app.connect("autodoc-skip-member", of_a_tuple)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
