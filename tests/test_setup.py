"""One source of truth for what is installed, and the commands that install it."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from test_install import needed

from medsr_lib.series import notebook as notebooks

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LISTS = [PROJECT["dependencies"], *EXTRAS.values()]
WANTED = [Requirement(r) for wanted in LISTS for r in wanted if not r.startswith("medsr-lib[")]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
)
PINNED = {canonicalize_name(name): version for name, version in PINS.items()}


def test_constraints_are_exact_pins_and_nothing_else():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert len(PINNED) == len(lines)


def test_no_process_that_reads_a_notebook_parses_a_grammar_first():
    """jsonschema 4.25 and newer do so where JupyterLab is installed: 1.4 s of CPU at each start."""
    assert not {"lark", "rfc3987-syntax"} & PINNED.keys()


@pytest.mark.parametrize("requirement", WANTED, ids=lambda r: r.name)
def test_every_dependency_has_a_pin_that_its_bound_allows(requirement):
    assert canonicalize_name(requirement.name) in PINNED
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])
    assert not re.search("==|<", str(requirement.specifier))


def within(extras):
    """The names that the core and these extras ask for, those of inner extras included."""
    lists = [PROJECT["dependencies"], *(EXTRAS[extra] for extra in extras)]
    found = {Requirement(r) for wanted in lists for r in wanted}
    inner = {extra for r in found if r.name == "medsr-lib" for extra in r.extras}
    names = {r.name for r in found if r.name != "medsr-lib"}
    return names | within(inner) if inner else names


def test_environment_yml_has_the_core_packages_in_the_versions_of_the_constraints():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, pip = conda["dependencies"]
    assert packages == ["python" + PROJECT["requires-python"], "pip"]
    constraints, *named, itself = pip["pip"]
    assert (constraints, itself) == ("-c constraints.txt", "-e .[lab,test]")
    assert {"torch", "jupyterlab", "h5py", "numpy", "scikit-image"} <= set(named)
    assert {"matplotlib", "seaborn", "papermill", "ipywidgets"} <= set(named)
    assert set(named) <= within(["lab", "test"])


def test_running_installs_neither_the_lab_nor_what_only_tests_and_checks_need():
    needless = within(["lab", "test", "docs", "lint", "browser"]) - within(["notebooks"])
    assert needless >= {"jupyterlab", "mypy", "pandas-stubs", "pytest", "sphinx", "playwright"}
    assert within(["test"]).isdisjoint({"jupyterlab", "mypy", "ruff", "sphinx"})


IMPORT = re.compile(r"^ *(?:import|from(?= [\w.]+ import)) (\w+)", re.MULTILINE)


def test_what_the_library_and_the_notebooks_import_is_installed_for_running_them():
    """Nothing comes by luck with JupyterLab or the tests' packages."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "medsr_lib").rglob("*.py")]
    sources += [cell.source for notebook in notebooks.find([]) for cell in notebook.code]
    tops = set(re.findall(IMPORT, "\n".join(sources))) - sys.stdlib_module_names - {"medsr_lib"}
    assert tops >= {"torch", "h5py", "papermill", "ipywidgets", "seaborn"}
    places = metadata.packages_distributions()
    seen = {}
    for wanted in within(["notebooks", "kaggle", "cluster", "medical", "methods", "record"]):
        needed(wanted, seen)
    come = {top for top in tops if {canonicalize_name(d) for d in places.get(top, ())} & set(seen)}
    assert not tops - come


def test_every_pin_holds_for_the_lowest_python_that_is_promised():
    lowest = PROJECT["requires-python"].removeprefix(">=") + ".0"
    refused = {}
    for name, version in PINS.items():
        with suppress(metadata.PackageNotFoundError):  # of an extra that is not here
            found = metadata.distribution(name)
            bound = found.metadata.get("Requires-Python") or ""
            if Version(found.version).public == version and lowest not in SpecifierSet(bound):
                refused[name] = bound
    assert not refused


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """tasks.py with an environment of its own, and `tasks.calls`, what it would have run.

    `tasks.code` is the exit code of each call, and pip starts if `tasks.pip_starts`.
    """
    spec = importlib.util.spec_from_file_location("tasks_under_test", ROOT / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    tasks.VENV, tasks.calls, tasks.code, tasks.pip_starts = tmp_path / "v", [], 0, True
    tasks.PYTHON, tasks.STAMP = tasks.VENV / "python", tasks.VENV / "installed.txt"
    tasks.made = 0

    def create(folder, *, clear, with_pip):
        assert with_pip
        if clear:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        tasks.PYTHON.touch()
        tasks.made += 1

    def run(command, cwd, check, **output):
        assert command[0] == str(tasks.PYTHON)
        assert cwd == ROOT
        if command[3:] == ["--version"]:
            return SimpleNamespace(returncode=0 if tasks.pip_starts else 1)
        tasks.calls.append(command[1:])
        if isinstance(tasks.code, BaseException):
            raise tasks.code
        return SimpleNamespace(returncode=tasks.code)

    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(tasks.subprocess, "run", run)
    return tasks


def install(*extras):
    return ["-m", "pip", "install", "-c", "constraints.txt", "-e", f".[{','.join(extras)}]"]


INSTALL = install("notebooks")


def test_setup_installs_once(tasks, capsys):
    tasks.main(["setup"])
    tasks.main(["setup"])
    assert tasks.calls == [INSTALL]
    assert capsys.readouterr().out.count("Installing notebooks into") == 1


def test_setup_installs_the_extras_it_is_given_and_knows_those_within(tasks, capsys):
    tasks.main(["setup", "--", "browser", "lint"])
    tasks.main(["setup", "--", "lint"])
    for command in ("run", "test", "lab", "docs"):
        tasks.setup(tasks.EXTRAS[command])
    assert tasks.calls == [install("browser", "lint")]
    with pytest.raises(SystemExit, match=r"no extra 'browse'; there are notebooks, lab"):
        tasks.main(["setup", "--", "browse"])


def test_a_command_adds_what_it_lacks_and_keeps_what_is_there(tasks):
    tasks.main(["setup"])
    for _ in range(2):
        tasks.setup("lab")
        tasks.setup("test")
        tasks.setup("notebooks")
    assert tasks.calls == [INSTALL, install("lab"), install("test")]
    assert tasks.made == 1


def test_an_extra_that_cannot_be_fetched_leaves_what_is_there(tasks):
    tasks.main(["setup"])
    tasks.code = 1
    with pytest.raises(SystemExit):
        tasks.setup("lab")
    tasks.main(["setup"])
    assert (tasks.made, tasks.calls) == (1, [INSTALL, install("lab")])


@pytest.mark.parametrize("ended", [3, KeyboardInterrupt()])
def test_an_environment_whose_making_broke_off_is_made_anew(tasks, capsys, ended):
    tasks.code = ended
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        tasks.main(["setup"])
    (tasks.VENV / "half").touch()
    tasks.code = 0
    tasks.main(["setup"])
    tasks.main(["setup"])
    assert tasks.calls == [INSTALL, INSTALL]
    assert tasks.made == 2
    assert not (tasks.VENV / "half").exists()
    assert "is not whole: it is made anew" in capsys.readouterr().out


def test_an_environment_without_pip_is_made_anew(tasks, capsys):
    tasks.VENV.mkdir()
    tasks.PYTHON.touch()
    tasks.pip_starts = False
    tasks.main(["setup"])
    assert (tasks.made, tasks.calls) == (1, [INSTALL])
    assert "is not whole: it is made anew" in capsys.readouterr().out


def test_an_environment_that_somebody_made_keeps_what_is_in_it(tasks):
    tasks.VENV.mkdir()
    tasks.PYTHON.touch()
    tasks.main(["setup"])
    assert (tasks.made, tasks.calls) == (0, [INSTALL])


def test_debian_without_ensurepip_is_told_what_to_install(tasks, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        tasks.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else found(name)
    )
    with pytest.raises(SystemExit, match=r"sudo apt install python3\.\d+-venv"):
        tasks.main(["setup"])
    assert not tasks.VENV.exists()


def test_an_environment_that_cannot_be_made_is_one_sentence(tasks, monkeypatch):
    failed = subprocess.CalledProcessError(1, "ensurepip")
    monkeypatch.setattr(venv, "create", Mock(side_effect=failed))
    with pytest.raises(SystemExit, match="could not be made"):
        tasks.main(["setup"])


def test_setup_installs_again_when_the_pins_have_changed(tasks):
    tasks.main(["setup"])
    tasks.STAMP.write_text("of other pins\nnotebooks\nlab")
    tasks.main(["setup"])
    tasks.setup("lab")
    assert (tasks.made, tasks.calls) == (1, [INSTALL, INSTALL, install("lab")])


@pytest.mark.parametrize("command", ["run", "test", "lab", "docs", "refresh"])
def test_commands_set_up_first_and_pass_on_what_follows(tasks, command):
    tasks.main([command, "--", "02", "-p", "scale=2"])
    *before, last = tasks.COMMANDS[command]
    assert tasks.calls == [install(tasks.EXTRAS[command]), *before, [*last, "02", "-p", "scale=2"]]


def test_the_exit_code_is_passed_on(tasks):
    tasks.main(["setup"])
    tasks.code = 5
    with pytest.raises(SystemExit) as stopped:
        tasks.main(["test"])
    assert stopped.value.code == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["instal"], 2), (["run", "02"], 2), ([], 0), (["help"], 0), (["--help"], 0)],
)
def test_unknown_commands_show_what_there_is(tasks, capsys, arguments, code):
    with pytest.raises(SystemExit) as stopped:
        tasks.main(arguments)
    assert stopped.value.code == code
    assert "python3 tasks.py setup" in capsys.readouterr().out
    assert not tasks.calls


def test_tasks_needs_nothing_but_python():
    nodes = list(ast.walk(ast.parse((ROOT / "tasks.py").read_text(encoding="utf-8"))))
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names
