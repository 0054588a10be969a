"""Is every published number what the kept rows give? `medsr verify` computes it again.

A page marks a number, or a whole table, as `<!--n:ID-->text<!--/n-->`. What the text must be is
computed by the function of that ID in `docs/results/recompute`, from tables kept beside it.
"""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from medsr_lib import files

MARKED = re.compile(r"<!--n:([\w-]+)-->(.*?)<!--/n-->", re.DOTALL)
RECOMPUTE = Path("docs/results/recompute")  # a package


class Number(NamedTuple):
    """A number, or a table, where a page shows it.

    Attributes:
        id: by which it is marked.
        page: that shows it.
        line: where it stands.
        shown: what the page says.
    """

    id: str
    page: Path
    line: int
    shown: str


class Checked(NamedTuple):
    """A number of a page, and what the kept rows give."""

    number: Number
    computed: str

    def __str__(self) -> str:
        """A line that says where, what, and whether it is right."""
        n = self.number
        text = n.shown.strip()
        shown = f"a table of {len(text.splitlines()) - 2} rows" if "\n" in text else text
        said = "right" if self.right else f"WRONG, it is {self.computed.strip()}"
        return f"{n.page}:{n.line}  {n.id}  {shown}  {said}"

    @property
    def right(self) -> bool:
        """Whether the page shows what is computed; how lines are broken does not matter."""
        return self.number.shown.split() == self.computed.split()


def pages(root: Path) -> list[Path]:
    """README and the pages of docs/."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def marked(root: Path) -> list[Number]:
    """Every number that a page marks, in the pages' order."""
    found = []
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        for match in MARKED.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Number(match[1], page, line, match[2]))
    return found


def verify(root: Path, ids: Collection[str] = ()) -> Iterator[Checked]:
    """Compute marked numbers again, one by one.

    Args:
        root: of the repository: README.md and docs/.
        ids: which; none are all.

    Raises:
        ValueError: no such folder, an ID that no page marks, or that nothing computes.
    """
    numbers, computing = marked(root), functions(root / RECOMPUTE)
    names = {number.id for number in numbers}
    for wanted in ids:
        if wanted not in names:
            known = ", ".join(sorted(names))
            raise ValueError(f"no page marks a number {wanted!r}; there are {known}")
    computed: dict[str, str] = {}
    chosen = set(ids) or names
    for number in numbers:
        if number.id not in chosen:
            continue
        if number.id not in computing:
            place = f"{number.page.name}, line {number.line}"
            raise ValueError(f"{place}: {RECOMPUTE} has no function for {number.id!r}")
        if number.id not in computed:
            computed[number.id] = computing[number.id]()
        yield Checked(number, computed[number.id])


def write(root: Path, ids: Collection[str] = ()) -> list[Checked]:
    """Put what the kept rows give into the pages, and return what was not so before."""
    wrong = [checked for checked in verify(root, ids) if not checked.right]
    new = {(checked.number.page, checked.number.id): checked.computed for checked in wrong}
    for page in {page for page, _ in new}:

        def anew(match: re.Match[str], page: Path = page) -> str:
            return f"<!--n:{match[1]}-->{new.get((page, match[1]), match[2])}<!--/n-->"

        text = MARKED.sub(anew, page.read_text(encoding="utf-8"))
        with files.atomic(page) as fresh:
            fresh.write_text(text, encoding="utf-8")
    return wrong


def redo(root: Path, ids: Collection[str], *, data: Path | None, runs: Path) -> int:
    """Have `docs/results/rerun.py` compute numbers from data: 0 if all agree, 1 if not, 2 where one
    cannot be computed; standard error says why. Networks of the commands lie below `runs`."""
    if not ids or data is None:
        raise ValueError("--deep needs the ID of a number, and --data")
    script = root / RECOMPUTE.with_name("rerun.py")
    words = [script, *ids, "--data", data, "--runs", runs]
    return subprocess.run([sys.executable, *map(str, words)]).returncode


def functions(path: Path) -> Mapping[str, Callable[[], str]]:
    """`NUMBERS` of a package, which is read anew at each call."""
    if not path.is_dir():
        raise ValueError(f"{path} is not there; run this in the repository, or name it by --root")
    name = f"{path.name}_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, path / "__init__.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # by which its own modules find one another
    spec.loader.exec_module(module)
    numbers: Mapping[str, Callable[[], str]] = module.NUMBERS
    return numbers
