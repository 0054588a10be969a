"""The plan of the house: who may import whom, who may print, what is described."""

import ast
from pathlib import Path

import pytest

import medsr_lib

LIBRARY = Path(medsr_lib.__file__).parent
FILES = {p.relative_to(LIBRARY).as_posix(): p for p in sorted(LIBRARY.rglob("*.py"))}
ROOMS = {"data", "restore", "assess", "show"}
AT_HOME = {
    "matplotlib": "show",
    "seaborn": "show",
    "h5py": "data",
    "pooch": "data",
    "papermill": "series",
    "kaggle": "series",
    "nbconvert": "series",
    "nbformat": "series",
    "nbclient": "series",
}


def tree(name):
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def room(name):
    return name.split("/")[0]


def imports(name):
    """Full names of all that a file imports, inside functions too."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["medsr_lib", *name.split("/")[:-1]]
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, node.module or ""]).strip(".")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def test_the_walk_sees_the_files_and_their_imports():
    assert {room(name) for name in FILES} >= ROOMS | {"series"}
    assert "medsr_lib.data.figshare" in set(imports("data/pack.py"))
    assert "h5py" in set(imports("data/pack.py"))


@pytest.mark.parametrize("name", [n for n in FILES if room(n) in ROOMS])
def test_rooms_import_nothing_of_each_other(name):
    ours = [i.split(".") for i in imports(name) if i.startswith("medsr_lib.")]
    others = {parts[1] for parts in ours} & (ROOMS | {"series"}) - {room(name)}
    assert not others


@pytest.mark.parametrize("name", [n for n in FILES if "/" not in n and n != "__main__.py"])
def test_what_all_rooms_share_imports_no_room(name):
    assert not {i.split(".")[1] for i in imports(name) if "." in i} & (ROOMS | {"series"})


@pytest.mark.parametrize("package", AT_HOME)
def test_packages_stay_in_their_room(package):
    users = {room(name) for name in FILES for i in imports(name) if i.split(".")[0] == package}
    assert users <= {AT_HOME[package]}


@pytest.mark.parametrize("name", [n for n in FILES if n != "series/cli.py"])
def test_the_library_does_not_print(name):
    calls = [n.func for n in ast.walk(tree(name)) if isinstance(n, ast.Call)]
    assert not [c.lineno for c in calls if isinstance(c, ast.Name) and c.id == "print"]


def undescribed(node, within=""):
    """Public classes and functions of a module or class that have no docstring."""
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            if ast.get_docstring(child) is None:
                yield within + child.name
            if isinstance(child, ast.ClassDef):
                yield from undescribed(child, f"{child.name}.")


@pytest.mark.parametrize("name", FILES)
def test_everything_public_is_described(name):
    if name != "__main__.py":
        assert ast.get_docstring(tree(name))
    assert not list(undescribed(tree(name)))
