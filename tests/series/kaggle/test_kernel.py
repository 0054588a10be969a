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
from medsr_lib.series import cli
from medsr_lib.series import notebook as notebooks
from medsr_lib.series.kaggle import kernel, metadata, wheel
from medsr_lib.series.sessions import plan
from medsr_lib.series.sessions.context import Context, Kind, Plan, Previous
from medsr_lib.series.sessions.state import State, sha256

ROOT = Path(medsr_lib.__file__).parents[1]
NOTEBOOKS = [one for one in notebooks.find([]) if one.name in metadata.NEEDS]


def built(tmp_path, name="03", **options):
    """Metadata and notebook of a kernel folder."""
    notebook = plan.one(name, None)
    chosen = {key: options.pop(key, None) for key in ("gpu", "data")}
    settings = {
        "needs": metadata.needs_of(notebook.name, **chosen),
        "parameters": {},
        "ref": f"me/{metadata.slug_of(notebook.name)}",
    }
    folder = kernel.build(notebook, tmp_path, **settings | options)
    content = json.loads((folder / metadata.KERNEL).read_text())
    return content, nbformat.read(folder / content["code_file"], as_version=4)


def cell(notebook, name):
    (found,) = [one.source for one in notebook.cells if one.id == name]
    return found


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda one: one.name)
def test_a_notebook_keeps_all_its_cells_and_states_what_it_needs(tmp_path, source):
    content, found = built(tmp_path, source.name)
    nbformat.validate(found)
    assert found.metadata.kernelspec.name == "python3"
    added = ["medsr-install", "medsr-parameters", "medsr-inputs", "medsr-tidy"]
    ids = [cell.id for cell in found.cells]
    assert [i for i in ids if i.startswith("medsr-")] == added
    assert (ids[0], ids[-1]) == (added[0], added[-1])
    kept = [cell.source for cell in found.cells if not cell.id.startswith("medsr-")]
    assert kept == [cell.source for cell in source.content.cells]
    assert not any(cell.get("outputs") for cell in found.cells)
    gpu = source.name == "03_srgan"
    shape = "NvidiaTeslaT4" if gpu else None
    assert (content["enable_gpu"], content["machine_shape"]) == (gpu, shape)
    assert content["enable_internet"] is False
    data, library = content["dataset_sources"]
    assert library == "me/medsr-lib"
    marker = {metadata.FIGSHARE: "1.mat", metadata.CHEST: "train/NORMAL"}[data]
    assert f"data_folder('{data}', marker='{marker}')" in cell(found, "medsr-inputs")


def test_inputs_and_gpus_can_be_chosen(tmp_path):
    assert built(tmp_path, "09")[0]["kernel_sources"] == ["me/medsr-08-chest-xray"]
    content, _ = built(tmp_path, "02", gpu=True, data="me/brains")
    assert content["machine_shape"] == "NvidiaTeslaT4"
    assert content["dataset_sources"][0] == "me/brains"


def test_parameters_are_behind_the_defaults_and_before_the_inputs(tmp_path):
    _, found = built(tmp_path, parameters={"epochs": 20000, "norm": "batch", "vgg": None})
    tags = [cell.metadata.get("tags", []) for cell in found.cells]
    at = tags.index(["parameters"])
    values = {}
    exec(found.cells[at + 1].source, values)
    assert tags[at + 1] == ["injected-parameters"]
    assert (values["epochs"], values["norm"], values["vgg"]) == (20000, "batch", None)
    assert (values["hours"], values["processes"]) == (8.5, "auto")
    assert found.cells[at + 2].id == "medsr-inputs"


@pytest.mark.parametrize("kind", [Kind.NOTEBOOKS, Kind.DATASETS])
def test_a_session_of_a_chain_knows_its_place(tmp_path, kind):
    previous = Previous("me/gan-s01", kind, State("03_srgan", 40, 100, "f", {}, {}))
    plan = Plan("a'\"b", "03_srgan", {"norm": None}, wheel="digest")
    context = Context(plan, 2, previous, 1.0, "image")
    content, found = built(tmp_path, context=context)
    assert kernel.context_of(nbformat.writes(found)) == context
    assert content["docker_image"] == "image"
    assert 'wanted = "digest"' in cell(found, "medsr-install")
    assert "resume_from = mounts.earlier_session(chain)" in cell(found, "medsr-inputs")
    assert ("me/gan-s01" in content["kernel_sources"]) == (kind is Kind.NOTEBOOKS)
    assert ("me/gan-s01" in content["dataset_sources"]) == (kind is Kind.DATASETS)


def test_what_is_not_of_a_chain_has_no_context(tmp_path):
    _, found = built(tmp_path)
    assert kernel.context_of(nbformat.writes(found)) is None
    assert kernel.context_of("no notebook") is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters": {"epoch": 1}}, "did you mean epochs"),
        ({"parameters": {"epochs": "many"}}, "epochs is float"),
        ({"parameters": {"hours": 11.8}}, r"at most 11\.75 h"),
        ({"parameters": {"hours": -1.0}}, "hours must be at least 0"),
        ({"parameters": {"data_dir": "x"}}, "use --data"),
        ({"parameters": {"resume_from": "x"}}, "set where the kernel runs"),
        ({"ref": "me/abc"}, "the title 'abc' has 3 characters"),
        ({"ref": "me/" + "a" * 51}, "has 51 characters"),
        ({"ref": "me/a--b-c"}, "Kaggle would call"),
        ({"data": "brain"}, "'brain' is not owner/slug"),
    ],
)
def test_bad_input_builds_nothing(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        built(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_the_wheel_is_the_imported_package_and_always_the_same(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "medsr_lib-0.0.1-py3-none-any.whl").touch()
    first, second = (wheel.write(tmp_path / name) for name in "ab")
    assert list((tmp_path / "a").iterdir()) == [first]
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        record = archive.read(next(n for n in names if n.endswith("RECORD"))).decode()
        for name in (n for n in names if n.startswith("medsr_lib/")):
            assert archive.read(name) == (ROOT / name).read_bytes()
    assert len(record.splitlines()) == len(names)
    assert "medsr_lib/series/pages/templates/page.css" in names
    assert "medsr_lib/series/kaggle/mounts.py" in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_can_be_installed_without_network(tmp_path):
    path = wheel.write(tmp_path / "dist")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
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
    exec(cell(built(tmp_path / "built")[1], "medsr-install"), {})
    return called


@pytest.mark.parametrize("mount", ["datasets/me/medsr-lib", "medsr-lib"])
def test_the_first_cell_installs_the_attached_wheel(tmp_path, monkeypatch, mount):
    path = wheel.write(tmp_path / "dist")
    ((*pip, installed),) = install(tmp_path, monkeypatch, {mount: path})
    assert {"--no-index", "--no-deps"} <= set(pip)
    assert hashlib.sha256(Path(installed).read_bytes()).hexdigest() == sha256(path)


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    other = tmp_path / "medsr_lib-0.0.1-py3-none-any.whl"
    other.write_bytes(b"older")
    with pytest.raises(FileNotFoundError, match=r"is not attached; found .*Push its data set \(me"):
        install(tmp_path, monkeypatch, {"medsr-lib": other})


def test_the_kept_metadata_are_up_to_date():
    for name, content in metadata.templates().items():
        kept = json.loads((ROOT / "kaggle" / name).read_text())
        assert kept == content, f"medsr kaggle metadata kaggle writes {name} anew"
        if name.endswith(metadata.KERNEL):
            metadata.check(kept)


def test_the_commands(tmp_path, capsys):
    words = ["kaggle", "build", "03", "--out", str(tmp_path), "--owner", "me", "-p", "epochs=5"]
    assert cli.main([*words, "--name", "my-gan"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / "medsr-lib"), str(tmp_path / "my-gan")]
    assert (tmp_path / "medsr-lib" / metadata.DATASET).is_file()
    assert cli.main([*words, "-p", "nothing=5"]) == 2
    assert "no parameter 'nothing'" in capsys.readouterr().err
    assert cli.main(["kaggle", "metadata", str(tmp_path / "kaggle")]) == 0
    assert len(capsys.readouterr().out.split()) == len(metadata.templates())
