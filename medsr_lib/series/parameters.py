"""The parameters of a notebook: its `parameters` cell read, values for it parsed and checked."""

import ast
import io
import json
import math
import os
import re
import tokenize
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml

PLAIN = {kind.__name__: kind for kind in (bool, int, str, list, dict)}
TYPES = PLAIN | {"float": int | float, "tuple": list, "Any": object}  # YAML has no tuples
LEAST = {"seed": 0, "contrasts": -1}  # of other counts 1, of other numbers 0
ABOVE_0 = ("hours", "epochs", "first_rate", "clip")
_ITEM = r'(?:"[^"]*"|[\d.]+)'
LISTED = re.compile(rf"{_ITEM}(?:, {_ITEM})* or {_ITEM}")  # what a comment begins with


@dataclass(frozen=True)
class Parameter:
    """One line of a `parameters` cell: `name: annotation = default  # comment`."""

    name: str
    default: object
    annotation: str
    comment: str

    def problem(self, value: object) -> str:
        """Why this cannot be its value; "" where it can.

        A number is finite, a count at least 1 (see `LEAST`). A comment that begins with `2, 3 or 4`
        or `1 to 100` lists all values but `null`; those of a list are its items.
        """
        must = f"is {self.annotation}"
        if _fits(value, ast.parse(self.annotation, mode="eval").body):
            items = value if isinstance(value, list) else [value]
            must = next(filter(None, map(self._range, items)), "")
        comment = f" ({self.comment})" if self.comment else ""
        got = f"{value!r} ({type(value).__name__})"
        return f"{self.name} {must}{comment}, not {got}" if must else ""

    def _range(self, value: object) -> str:
        """What a value or an item of one must be; "" where it is."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            usual = self.default if isinstance(self.default, list) else [self.default]
            counted = "int" in self.annotation or {type(one) for one in usual} == {int}
            least = LEAST.get(self.name, int(counted))
            if not least <= value < math.inf:
                return f"must be at least {least}"
            if self.name in ABOVE_0 and value == 0:
                return "must be above 0"
            span = re.match(r"([\d.]+) to ([\d.]+)", self.comment)
            if span and not float(span[1]) <= value <= float(span[2]):
                return f"must be from {span[1]} to {span[2]}"
        listed = LISTED.match(self.comment)
        known = re.split(", | or ", listed[0].replace('"', "")) if listed else []
        legal = not known or value is None or str(value).partition(":")[0] in known
        return "" if legal else "must be one of these"  # of which cuda:1 is cuda

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


def parse(assignments: Iterable[str], value: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Turn `name=value` into a dict; `value` reads the text of each, by default `load`.

    >>> parse(["scale=4", "rate=1e-3", "limit=null", "pretrained=false", "device=cpu"])
    {'scale': 4, 'rate': 0.001, 'limit': None, 'pretrained': False, 'device': 'cpu'}

    Raises:
        ValueError: not name=value, a name given twice, no value, or one that cannot be read.
    """
    values: dict[str, Any] = {}
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
            values[name] = (value or load)(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return values


def load(text: str) -> object:
    """A value from its text: what `dump` wrote, or what a person did.

    Numbers, true, false, null, and what begins with a bracket or a quote is JSON or YAML. All else
    is text as it stands, but that `~` is the home folder, as in the shell.

    >>> load("[1, 2e-1, on]"), load("runs/a #2"), load("3")
    ([1, 0.2, 'on'], 'runs/a #2', 3)

    Raises:
        ValueError: a list, dict or quoted text that cannot be read.
    """
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    plain = text.strip()
    if plain[:1] not in ("[", "{", '"', "'") and not any(
        form.match(plain) for form in _FORMS.values()
    ):
        return os.path.expanduser(text)  # noqa: PTH111 (pathlib loses "./" and fails without a home)
    try:
        return yaml.load(plain, Loader=_Values)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValueError(f"{text[:80]!r} cannot be read; put it in quotes") from None


def dump(value: object) -> str:
    """A value as one line of ASCII that `load` reads as the same: any text, NaN, infinity."""
    return json.dumps(value)


def check(there: Mapping[str, Any]) -> None:
    """Refuse parameters that cannot be, in a notebook run by hand: `check(globals())`.

    Raises:
        ValueError: lists what is wrong.
    """
    found: dict[str, Parameter] = {}
    for source in there.get("In", []):  # of all cells, as IPython keeps them
        with suppress(ValueError):
            found |= {n: p for n, p in read(source, where="").items() if p.comment}
    problems = [p.problem(there[name]) for name, p in found.items() if name in there]
    if any(problems):
        raise ValueError("\n".join(filter(None, problems)))


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


_FORMS = {
    "null": re.compile(r"(null|Null|NULL|None)$"),
    "bool": re.compile(r"(true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"[-+]?[0-9]+$"),
    "float": re.compile(r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan)$"),
}
for _tag, _form in _FORMS.items():
    _Values.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _form, None)
_Values.add_constructor("tag:yaml.org,2002:int", lambda _, node: int(node.value))
