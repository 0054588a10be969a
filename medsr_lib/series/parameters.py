"""The parameters of a notebook: its `parameters` cell read, values for it parsed and checked."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

PLAIN = {kind.__name__: kind for kind in (bool, int, str, list, dict)}
TYPES = PLAIN | {"float": int | float, "tuple": list, "Any": object}  # YAML has no tuples


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

    def mismatch(self, value: object) -> str:
        """What is wrong about a value that is not accepted."""
        comment = f" ({self.comment})" if self.comment else ""
        got = f"{value!r} ({type(value).__name__})"
        return f"{self.name} is {self.annotation}{comment}, not {got}"

    def __str__(self) -> str:
        line = f"{self.name}: {self.annotation} = {self.default!r}"
        return f"{line}  # {self.comment}" if self.comment else line


def read(source: str, *, where: str) -> dict[str, Parameter]:
    """Read a `parameters` cell of the file `where`: assignments of literals, nothing else.

    What is not annotated has the type of its default.

    Raises:
        ValueError: it is not Python, or holds more than assignments of literals.
    """
    try:
        body = ast.parse(source).body
    except SyntaxError as error:
        raise ValueError(f"{where}: the parameters cell is not Python: {error}") from error
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT}
    found = {}
    for statement in body:
        parameter = _parameter(statement, comments)
        if parameter is None:
            line = (ast.get_source_segment(source, statement) or "").splitlines()[0]
            raise ValueError(
                f"{where}, parameters cell, line {statement.lineno}: {line!r} is not "
                "`name = literal`"
            )
        found[parameter.name] = parameter
    return found


def parse(assignments: Iterable[str]) -> dict[str, object]:
    """Turn `name=value` into a dict; the value is read as YAML, numbers as Python writes them.

    >>> parse(["scale=4", "rate=1e-3", "limit=null", "pretrained=false", "device=cpu"])
    {'scale': 4, 'rate': 0.001, 'limit': None, 'pretrained': False, 'device': 'cpu'}

    Raises:
        ValueError: not name=value, a name given twice, no value, or one that YAML cannot read.
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


def _parameter(statement: ast.stmt, comments: Mapping[int, str]) -> Parameter | None:
    """The parameter that a statement defines; None where it is no assignment of a literal."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            annotation = ""
        case ast.AnnAssign(target=ast.Name(id=name), annotation=kind, value=ast.expr() as value):
            annotation = ast.unparse(kind)
        case _:
            return None
    try:
        default = ast.literal_eval(value)
    except ValueError:
        return None
    inferred = "Any" if default is None else type(default).__name__
    lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
    comment = " ".join(comments[n] for n in lines if n in comments)
    return Parameter(name, default, annotation or inferred, comment)


def _fits(value: object, kind: ast.expr) -> bool:
    match kind:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Constant(value=None):
            return value is None
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            return isinstance(value, list) and all(_fits(v, item) for v in value)
        case ast.Name(id=name) if name in TYPES:
            wanted = name in ("bool", "Any") or not isinstance(value, bool)
            return wanted and isinstance(value, TYPES[name])
    raise ValueError(f"the annotation {ast.unparse(kind)!r} is not one that a run can check")


class _Values(yaml.SafeLoader):
    """YAML 1.2's plain values: 1e-3 is a number, `on` and `no` and 12:30 and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern in {
    "null": r"~|null|Null|NULL|None",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan",
}.items():
    _Values.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)
_Values.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
