"""Kernel folders: what is pushed to Kaggle, and what Kaggle would do with it."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

import medsr_lib
from medsr_lib.series import cli, kernel, run, wheel

ROOT = Path(medsr_lib.__file__).parents[1]
NOTEBOOKS = run.find([], run.notebooks_folder())


def built(tmp_path, name="03", **options):
    """Metadata and notebook of a kernel folder."""
    (notebook,) = run.find([name], run.notebooks_folder())
    folder = kernel.build(notebook, tmp_path, **options)
    content = json.loads((folder / kernel.KERNEL).read_text())
    return content, nbformat.read(folder / content["code_file"], as_version=4)


def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem in kernel.KINDS], ids=str)
def test_a_notebook_keeps_all_its_cells(tmp_path, path):
    folder = kernel.build(path, tmp_path, owner="me")
    source = nbformat.read(path, as_version=4)
    found = nbformat.read(folder / path.name, as_version=4)
    nbformat.validate(found)
    assert found.metadata.kernelspec.name == "python3"
    added = ["medsr-install", "medsr-parameters", "medsr-inputs", "medsr-tidy"]
    ids = [cell.id for cell in found.cells]
    assert [i for i in ids if i.startswith("medsr-")] == added
    assert (ids[0], ids[-1]) == (added[0], added[-1])
    kept = [cell.source for cell in found.cells if not cell.id.startswith("medsr-")]
    assert kept == [cell.source for cell in source.cells]
    assert not any(cell.get("outputs") for cell in found.cells)


def test_parameters_stand_behind_the_defaults_and_before_the_inputs(tmp_path):
    _, found = built(tmp_path, parameters={"epochs": 20000, "norm": "batch", "vgg": None})
    tags = [cell.metadata.get("tags", []) for cell in found.cells]
    at = tags.index(["parameters"])
    values = {}
    exec(found.cells[at + 1].source, values)
    assert tags[at + 1] == ["injected-parameters"]
    assert (values["epochs"], values["norm"], values["vgg"]) == (20000, "batch", None)
    assert (values["hours"], values["processes"]) == (8.5, "auto")
    assert "session.begin(" in found.cells[at + 2].source


def test_gpus_only_where_needed_and_everything_stated(tmp_path):
    gpu, _ = built(tmp_path, "03", owner="me")
    assert (gpu["enable_gpu"], gpu["machine_shape"]) == (True, "NvidiaTeslaT4")
    assert gpu["dataset_sources"] == [kernel.FIGSHARE, "me/medsr-lib"]
    for name in ("01", "02", "04", "05", "06"):
        content, _ = built(tmp_path, name, owner="me")
        assert (content["enable_gpu"], content["machine_shape"]) == (False, None)
        assert content["enable_internet"] is False
    assert content["dataset_sources"] == [kernel.CHEST, "me/medsr-lib"]
    assert content["kernel_sources"] == ["me/medsr-05-chest-xray"]
    assert built(tmp_path, "02", gpu=True)[0]["machine_shape"] == "NvidiaTeslaT4"


def test_a_kernel_knows_its_data_by_what_is_in_them(tmp_path):
    (cell,) = [c for c in code(built(tmp_path, "05")[1]) if "data_folder" in c]
    assert f"data_folder('{kernel.CHEST}', marker='train/NORMAL')" in cell
    (cell,) = [c for c in code(built(tmp_path, "02")[1]) if "data_folder" in c]
    assert f"data_folder('{kernel.FIGSHARE}', marker='1.mat')" in cell


def test_the_context_can_be_read_back(tmp_path):
    context = {"chain": "a'\"b", "session": 2, "parameters": {"norm": None}, "previous": {"x": 1}}
    (notebook,) = run.find(["03"], run.notebooks_folder())
    folder = kernel.build(notebook, tmp_path, context=context)
    assert kernel.context_of((folder / "03_srgan.ipynb").read_text()) == context
    assert kernel.context_of(notebook.read_text()) is None
    assert kernel.context_of("no notebook") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": {"epoch": 1}}, "did you mean epochs"),
        ({"parameters": {"epochs": "many"}}, "epochs is float"),
        ({"parameters": {"hours": 11.8}}, r"at most 11\.75 h"),
        ({"parameters": {"hours": -1.0}}, "more than 0"),
        ({"parameters": {"data_dir": "x"}}, "use --data"),
        ({"parameters": {"resume_from": "x"}}, "found where it is mounted"),
        ({"slug": "abc"}, "the title 'abc' has 3 characters"),
        ({"slug": "a" * 51}, "has 51 characters"),
        ({"slug": "a--b-c"}, "Kaggle would call"),
        ({"data": "brain"}, "'brain' is not owner/slug"),
    ],
)
def test_bad_input_builds_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        built(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_the_wheel_is_the_imported_package_and_always_the_same(tmp_path):
    first, second = (wheel.write(tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        record = archive.read(next(n for n in names if n.endswith("RECORD"))).decode()
        for name in (n for n in names if n.startswith("medsr_lib/")):
            assert archive.read(name) == (ROOT / name).read_bytes()
    assert len(record.splitlines()) == len(names)
    assert "medsr_lib/series/pages/page.css" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_can_be_installed_without_network(tmp_path):
    path = wheel.write(tmp_path / "dist")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(path)], check=True)
    script = "import medsr_lib, importlib.metadata as m; print(medsr_lib.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert Path(done.stdout.strip()).parent == tmp_path / "site" / "medsr_lib"


def install(tmp_path, monkeypatch, sources):
    """Run the first cell of a kernel where these files are mounted; what it would call."""
    called = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: called.append(command))
    monkeypatch.setenv("MEDSR_KAGGLE_ROOT", str(tmp_path / "kaggle"))
    for name, path in sources.items():
        target = tmp_path / "kaggle" / "input" / name / path.name
        target.parent.mkdir(parents=True)
        target.write_bytes(path.read_bytes())
    _, found = built(tmp_path / "built", owner="me")
    exec(code(found)[0], {})
    return called


@pytest.mark.parametrize("mount", ["datasets/me/medsr-lib", "medsr-lib"])
def test_the_first_cell_installs_the_attached_wheel(tmp_path, monkeypatch, mount):
    path = wheel.write(tmp_path / "dist")
    ((*pip, installed),) = install(tmp_path, monkeypatch, {mount: path})
    assert {"--no-index", "--no-deps"} <= set(pip)
    assert hashlib.sha256(Path(installed).read_bytes()).hexdigest() == wheel.sha256(path)


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "medsr_lib-0.0.1-py3-none-any.whl"
    other.write_bytes(b"older")
    with pytest.raises(FileNotFoundError, match=r"is not attached; found .*Push its data set \(me"):
        install(tmp_path, monkeypatch, {"medsr-lib": other})


def test_the_kept_metadata_are_up_to_date():
    for name, content in kernel.templates().items():
        kept = json.loads((ROOT / "kaggle" / name).read_text())
        assert kept == content, f"medsr kaggle metadata kaggle writes {name} anew"
        if name.endswith(kernel.KERNEL):
            kernel.check(kept)


def test_build_by_command(tmp_path, capsys):
    words = ["kaggle", "build", "03", "--out", str(tmp_path), "--owner", "me", "-p", "epochs=5"]
    assert cli.main([*words, "--name", "my-gan"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "medsr-lib"), str(tmp_path / "my-gan")]
    assert (tmp_path / "medsr-lib" / kernel.DATASET).is_file()
    assert cli.main([*words, "-p", "nothing=5"]) == 2
    assert "no parameter 'nothing'" in capsys.readouterr().err
