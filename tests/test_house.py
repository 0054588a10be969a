"""The plan of the house: who may import whom, who may print, what is described, how large it is."""

import ast
import os
import platform
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import medsr_lib

LIBRARY = Path(medsr_lib.__file__).parent
FILES = {p.relative_to(LIBRARY).as_posix(): p for p in sorted(LIBRARY.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
ROOMS = {"data", "restore", "assess", "show"}
AT_HOME = {
    "matplotlib": "show",
    "seaborn": "show",
    "h5py": "data",
    "papermill": "series",
    "kaggle": "series",
    "nbconvert": "series",
    "nbformat": "series",
    "nbclient": "series",
}
CORE = {
    *("torch", "numpy", "scipy", "pandas", "h5py", "skimage", "sklearn", "statsmodels", "tqdm"),
    *("PIL", "joblib", "threadpoolctl"),
}
POLICIES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
MOST_LINES = 31_050
MOST_SIDE_BY_SIDE = 9


def room(name):
    return name.split("/")[0]


def imported(name, nodes):
    """Full names of all that these nodes of a file import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = ["medsr_lib", *name.split("/")[:-1]]
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, node.module or ""]).strip(".")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def imports(name):
    """Full names of all that a file imports, inside functions too."""
    return list(imported(name, ast.walk(TREES[name])))


@cache
def on_loading(name):
    """Full names of what a file imports when it is loaded."""

    def outside(node):
        for child in ast.iter_child_nodes(node):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not typing_only:
                yield child
                yield from outside(child)

    return list(imported(name, outside(TREES[name])))


def file_of(module):
    """The file of the library that a full name is of, or is in."""
    parts = module.split(".")[1:]
    for end in range(len(parts), -1, -1):
        stem = "/".join(parts[:end])
        for file in (f"{stem}.py", f"{stem}/__init__.py".lstrip("/")):
            if file in FILES:
                return file
    raise AssertionError(f"{module} is in no file")


def test_the_walk_sees_the_files_and_their_imports():
    assert {room(name) for name in FILES} >= ROOMS | {"series"}
    assert "medsr_lib.data.source" in imports("data/store.py")
    assert "h5py" in on_loading("data/store.py")
    assert file_of("medsr_lib.data.figshare.read_slice") == "data/figshare.py"
    assert file_of("medsr_lib.assess.score") == "assess/__init__.py"


@pytest.mark.parametrize("name", [n for n in FILES if room(n) in ROOMS])
def test_rooms_import_nothing_of_each_other(name):
    ours = [i.split(".") for i in imports(name) if i.startswith("medsr_lib.")]
    others = {parts[1] for parts in ours} & (ROOMS | {"series"}) - {room(name)}
    assert not others


@pytest.mark.parametrize("name", [n for n in FILES if "/" not in n and n != "__main__.py"])
def test_what_all_rooms_share_imports_no_room(name):
    assert not {i.split(".")[1] for i in imports(name) if "." in i} & (ROOMS | {"series"})


def test_imports_go_round_in_no_circle():
    graph = {
        name: {file_of(i) for i in imports(name) if i.split(".")[0] == "medsr_lib"} - {name}
        for name in FILES
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("package", AT_HOME)
def test_packages_stay_in_their_room(package):
    users = {room(name) for name in FILES for i in imports(name) if i.split(".")[0] == package}
    assert users <= {AT_HOME[package]}


@pytest.mark.parametrize("name", [n for n in FILES if room(n) not in ("series", "show")])
def test_the_core_loads_with_the_core_packages_alone(name):
    packages = {i.split(".")[0] for i in on_loading(name)} - {"medsr_lib", "__future__"}
    if name != "__main__.py":
        assert packages - set(sys.stdlib_module_names) <= CORE


def test_the_house_stays_small():
    assert sum(path.read_text().count("\n") for path in FILES.values()) <= MOST_LINES
    for folder in {path.parent for path in FILES.values()}:
        beside = [path.name for path in folder.glob("*.py") if path.name[:2] != "__"]
        assert len(beside) <= MOST_SIDE_BY_SIDE, f"{folder}: {beside}"


@pytest.mark.parametrize("name", [n for n in FILES if n != "series/cli.py"])
def test_the_library_does_not_print(name):
    calls = [n.func for n in ast.walk(TREES[name]) if isinstance(n, ast.Call)]
    assert not [c.lineno for c in calls if isinstance(c, ast.Name) and c.id == "print"]


def printed(program, **environment):
    """What Python prints; only what is given says how threads wait and how memory is kept."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith((*POLICIES, "MALLOC_"))}
    own = plain | environment
    return subprocess.check_output([sys.executable, "-c", program], text=True, env=own)


HEAVY = "print(sys.modules.keys() & {'torch', 'pandas', 'matplotlib', 'scipy', 'lark'})"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "none"], ["run", "-p", "none=1"]])
def test_nothing_heavy_is_loaded_to_help_or_to_refuse(arguments):
    done = f"import atexit, sys; atexit.register(lambda: {HEAVY})"
    asked = f"from medsr_lib.series.cli import main; main({arguments})"
    assert printed(f"{done}; {asked}").endswith("set()\n")


@pytest.mark.parametrize(
    ("given", "policy"),
    [
        ({}, {"GOMP_SPINCOUNT": "1000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
    ],
)
def test_threads_spin_shortly_unless_the_user_has_said_how_they_wait(given, policy):
    asked = (
        f"import medsr_lib, os; print({{k: v for k, v in os.environ.items() if k in {POLICIES}}})"
    )
    assert ast.literal_eval(printed(asked, **given)) == policy


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
@pytest.mark.parametrize(("given", "kept"), [({}, True), ({"MALLOC_CHECK_": "0"}, False)])
def test_memory_of_a_layer_is_kept_unless_the_user_has_said_how_it_is_given(given, kept):
    asked = """
import medsr_lib, ctypes, resource
libc, size = ctypes.CDLL(None), 80 << 20
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    libc.free(place)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    assert (int(printed(asked, **given)) < 10) is kept  # pages that the system has cleared anew


def test_what_starts_kernels_has_loaded_the_library_before():
    tasks = (LIBRARY.parent / "tasks.py").read_text(encoding="utf-8")
    assert '"import medsr_lib; from jupyterlab.labapp import main; main()"' in tasks


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
        assert ast.get_docstring(TREES[name])
    assert not list(undescribed(TREES[name]))
