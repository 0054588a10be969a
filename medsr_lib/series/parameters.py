"""What a notebook can be told: its `parameters` cell read, and values for it checked."""

import ast
import difflib
import io
import json
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

SCALARS = {"bool": bool, "int": int, "str": str}


@dataclass(frozen=True)
class Parameter:
    """One line of a `parameters` cell: `name: annotation = default  # comment`."""

    name: str
    default: object
    annotation: str
    comment: str

    def accepts(self, value: object) -> bool:
        """Whether `value` is of the annotated type."""
        return _fits(value, ast.parse(self.annotation, mode="eval").body)

    def __str__(self) -> str:
        line = f"{self.name}: {self.annotation} = {self.default!r}"
        return f"{line}  # {self.comment}" if self.comment else line


def parameters_of(path: Path) -> dict[str, Parameter]:
    """Read the one code cell tagged `parameters` of the notebook at `path`.

    The cell holds plain assignments of literals. What is not annotated has the type of its default.

    Raises:
        ValueError: the file is no notebook, has no such cell or several, or the cell holds more.
    """
    source = _source(path)
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{path.name}: the parameters cell is not Python: {error}") from error
    comments = _comments(source)
    found = [_parameter(path, source, statement, comments) for statement in body]
    return {parameter.name: parameter for parameter in found}


def parse(assignments: Iterable[str]) -> dict[str, object]:
    """Turn `name=value` into a dict; the value is read as YAML, numbers as Python writes them.

    >>> parse(["scale=4", "rate=1e-3", "limit=null", "pretrained=false", "device=cpu"])
    {'scale': 4, 'rate': 0.001, 'limit': None, 'pretrained': False, 'device': 'cpu'}
    """
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise ValueError(f"{assignment!r} is not name=value, for example scale=4")
        if not text.strip():
            raise ValueError(f"{name} has no value; write {name}=null for none at all")
        if name in values:
            raise ValueError(f"{name} is given twice")
        try:
            values[name] = yaml.load(text, Loader=_Values)
        except yaml.YAMLError as error:
            raise ValueError(f"{name}: {text!r} cannot be read; put it in quotes") from error
    return values


def check(
    parameters: Mapping[str, object], notebooks: Sequence[Path]
) -> dict[Path, dict[str, object]]:
    """Sort `parameters` to the notebooks that have them.

    Raises:
        ValueError: a name that none of the notebooks has, or a value of the wrong type;
            every problem is named.
    """
    known = {path: parameters_of(path) for path in notebooks}
    names = sorted({name for have in known.values() for name in have})
    problems = [_unknown(name, names) for name in parameters if name not in names]
    sorted_out: dict[Path, dict[str, object]] = {path: {} for path in notebooks}
    for path, have in known.items():
        for name in parameters.keys() & have.keys():
            if have[name].accepts(parameters[name]):
                value = parameters[name]
                sorted_out[path][name] = list(value) if isinstance(value, tuple) else value
            else:
                problems.append(_mismatch(path, have[name], parameters[name]))
    if problems:
        raise ValueError("\n".join(problems))
    return sorted_out


def _unknown(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"no parameter {name!r}{hint} The notebooks have: {', '.join(names) or 'none'}"


def _mismatch(path: Path, parameter: Parameter, value: object) -> str:
    comment = f" ({parameter.comment})" if parameter.comment else ""
    got = f"{value!r} ({type(value).__name__})"
    return f"{path.stem}: {parameter.name} is {parameter.annotation}{comment}, not {got}"


def _source(path: Path) -> str:
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a Jupyter notebook (nbformat 4)") from error
    tagged = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(tagged) != 1:
        raise ValueError(
            f"{path.name} has {len(tagged) or 'no'} code cells tagged 'parameters'; one is needed"
        )
    return tagged[0]


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}


def _parameter(
    path: Path, source: str, statement: ast.stmt, comments: Mapping[int, str]
) -> Parameter:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = None
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            annotation = ast.unparse(kind)
        case _:
            raise ValueError(_not_literal(path, source, statement))
    try:
        default = ast.literal_eval(value)
    except ValueError as error:
        raise ValueError(_not_literal(path, source, statement)) from error
    last = statement.end_lineno or statement.lineno
    comment = " ".join(comments[n] for n in range(statement.lineno, last + 1) if n in comments)
    return Parameter(name, default, annotation or _kind(default), comment)


def _not_literal(path: Path, source: str, statement: ast.stmt) -> str:
    line = (ast.get_source_segment(source, statement) or "").splitlines()[0]
    return (
        f"{path.name}, parameters cell, line {statement.lineno}: {line!r} is not `name = literal`"
    )


def _kind(default: object) -> str:
    return "Any" if default is None else type(default).__name__


def _fits(value: object, kind: ast.expr) -> bool:
    match kind:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id="float"):
            return isinstance(value, int | float) and not isinstance(value, bool)
        case ast.Name(id="int"):
            return isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="bool" | "str" as name):
            return isinstance(value, SCALARS[name])
        case ast.Name(id="list" | "tuple"):
            return isinstance(value, list | tuple)
        case ast.Name(id="dict"):
            return isinstance(value, dict)
        case ast.Name(id="Any"):
            return True
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            allowed = ast.literal_eval(choices)
            return value in (allowed if isinstance(allowed, tuple) else (allowed,))
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list | tuple) and all(_fits(v, item) for v in value)
        case ast.Subscript(value=ast.Name() as outer):
            return _fits(value, outer)
    raise ValueError(f"the annotation {ast.unparse(kind)!r} is not one that a run can check")


class _Values(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-3 is a number, `on` and `no` and 12:30 and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|None", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
        "-+.0123456789",
    ),
):
    _Values.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), list(_first)
    )
_Values.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
