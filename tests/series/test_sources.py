"""Each notebook is given the kind of data that it reads."""

from pathlib import Path

import pytest

from medsr_lib.series import run, sources
from medsr_lib.series.sources import RADIOGRAPHS, SLICES

OF = {SLICES: 'data_dir = "../data/phantom"', RADIOGRAPHS: 'data_dir = "../data/phantom-chest"'}


@pytest.fixture
def both(series):
    """A notebook of each kind, and a folder of data for each."""
    for name, source in {"01_slices": SLICES, "05_chest": RADIOGRAPHS}.items():
        series.add(name, "print(data_dir)", parameters=f'{OF[source]}\nout_dir = "../out"')
    (series.data / "brain" / "data").mkdir(parents=True)
    (series.data / "brain" / "data" / "1.mat").touch()
    (series.data / "chest" / "chest_xray" / "train" / "NORMAL").mkdir(parents=True)
    return series


def given(series, *folders, named=False):
    paths = [series.data / name for name in folders]
    found, without = sources.assign(run.find([], series.folder), paths, named=named)
    return {path.stem: folder.name for path, folder in found.items()}, without


def test_two_folders_are_told_apart(both):
    assert given(both, "chest", "brain") == ({"01_slices": "brain", "05_chest": "chest"}, [])


def test_one_folder_may_hold_both(both):
    folders, without = given(both, ".")
    assert list(folders) == ["01_slices", "05_chest"]
    assert not without


def test_of_all_notebooks_those_without_data_are_left_out(both):
    folders, (line,) = given(both, "brain")
    assert folders == {"01_slices": "brain"}
    assert line.startswith("05_chest needs radiographs (train/ and test/ with NORMAL/")
    assert line.endswith("brain holds slices")


def test_a_named_notebook_without_data_is_refused(both):
    with pytest.raises(ValueError, match=r"05_chest needs radiographs .* but .*brain holds slices"):
        both.run("05", data=both.data / "brain")
    assert not both.out.exists()


def test_data_of_no_kind_are_refused(both, tmp_path):
    (both.data / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds neither slices nor radiographs"):
        given(both, "empty")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none"):
        given(both, "none")


def test_two_folders_of_one_kind_are_refused(both):
    (both.data / "more").mkdir()
    (both.data / "more" / "1.mat").touch()
    with pytest.raises(ValueError, match=r"brain and .*more both hold slices; give one"):
        given(both, "brain", "more")


def test_a_run_hands_each_its_folder_and_says_what_is_left_out(both, capsys):
    (result,) = both.run(data=[both.data / "chest"], progress=True)
    assert result.notebook == "05_chest"
    assert result.parameters["data_dir"] == str((both.data / "chest").resolve())
    assert "left out: 01_slices needs slices" in capsys.readouterr().err
    page = (both.out / "index.html").read_text(encoding="utf-8")
    assert "Left out: 01_slices needs slices (N.mat files), but " in page


def test_embedded_data_are_those_that_the_notebooks_read(both):
    first, second = run.find([], both.folder)
    assert sources.embedded([first]) == [Path("data/phantom")]
    assert sources.embedded([second, first]) == [Path("data/phantom"), Path("data/phantom-chest")]


def test_every_notebook_of_the_series_reads_a_known_kind():
    for path in run.find([], run.notebooks_folder()):
        assert sources.source_of(path), path.stem
