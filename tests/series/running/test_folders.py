"""Each notebook is given the kind of data that it reads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medsr_lib.data import phantom
from medsr_lib.series import notebook as notebooks
from medsr_lib.series.running import folders

CELL = 'data_dir = "../data/{}"\nout_dir = "../out"'


@pytest.fixture
def both(series, write_mat):
    """A notebook of each kind, and a folder of data for each."""
    for name, data in {"01_slices": "phantom", "05_chest": "phantom-chest"}.items():
        series.add(name, "print(data_dir)", parameters=CELL.format(data))
    write_mat(series.data / "brain" / "data" / "1.mat")
    phantom.write_chest_xray(series.data / "chest", patients=5, seed=0, size=96)
    return series


def given(series, *names, named=False):
    paths = [series.data / name for name in names]
    found, without = folders.assign(notebooks.find([], series.folder), paths, named=named)
    return {name: folder.name for name, folder in found.items()}, without


def test_two_folders_are_told_apart_and_one_may_hold_both(both):
    assert given(both, "chest", "brain") == ({"01_slices": "brain", "05_chest": "chest"}, [])
    assert list(given(both, ".")[0]) == ["01_slices", "05_chest"]


def test_of_all_notebooks_those_without_data_are_left_out(both):
    assigned, (line,) = given(both, "brain")
    assert assigned == {"01_slices": "brain"}
    assert line.startswith("05_chest needs chest radiographs (train/ and test/ with NORMAL/")
    assert line.endswith("brain holds brain slices")


def test_a_named_notebook_without_data_is_refused(both):
    with pytest.raises(ValueError, match=r"05_chest needs chest radiographs .*brain holds brain"):
        both.run("05", data=both.data / "brain")
    assert not both.out.exists()


def test_folders_that_do_not_fit_are_refused(both, write_mat):
    (both.data / "empty").mkdir()
    write_mat(both.data / "more" / "1.mat")
    with pytest.raises(ValueError, match="empty holds no data of a known kind"):
        given(both, "empty")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none"):
        given(both, "none")
    with pytest.raises(ValueError, match=r"brain and .*more both hold brain slices; give one"):
        given(both, "brain", "more")


def test_a_notebook_may_read_several_kinds_the_best_first(both):
    images = both.data / "own"
    images.mkdir()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(images / "a.png")
    comments = {"02_two": "brain slices, or images and masks", "03_any": "folder of any images"}
    for name, comment in comments.items():
        cell = CELL.format("phantom").replace("\n", f"  # {comment}\n", 1)
        both.add(name, "print(data_dir)", parameters=cell)
    assigned, without = given(both, "own")
    assert assigned == {"02_two": "own", "03_any": "own"}
    assert [line.split(" needs")[0] for line in without] == ["01_slices", "05_chest"]
    assert given(both, "own", "chest")[0] == {
        "02_two": "own",
        "03_any": "chest",
        "05_chest": "chest",
    }
    assert given(both, "chest", "own", "brain")[0]["03_any"] == "brain"
    with pytest.raises(ValueError, match=r"02_two needs brain slices \(.*\) or images and masks"):
        folders.assign(notebooks.find(["02"], both.folder), [both.data / "chest"], named=True)


def test_how_images_are_read_is_known_before_anything_runs(both):
    both.add("03_any", parameters=CELL.format("phantom") + "\nreading: dict = {}")
    with pytest.raises(ValueError, match="no option layuot; there are layout"):
        both.run(parameters={"reading": {"layuot": "beside"}})
    with pytest.raises(ValueError, match="nothing in it is in the layout 'bids'"):
        both.run(data=both.data / "brain", parameters={"reading": {"layout": "bids"}})
    assert not both.out.exists()


def test_a_run_hands_each_its_folder_and_says_what_is_left_out(both, capsys):
    (result,) = both.run(data=[both.data / "chest"])
    assert result.notebook == "05_chest"
    assert result.parameters["data_dir"] == str((both.data / "chest").resolve())
    assert "left out: 01_slices needs brain slices" in capsys.readouterr().err
    page = (both.out / "index.html").read_text(encoding="utf-8")
    assert "Left out: 01_slices needs brain slices (N.mat files in it or below), but " in page


def test_embedded_data_are_those_that_the_notebooks_read(both, monkeypatch):
    written = []

    def write(root, *, progress, **recipe):
        written.append((root, recipe))

    monkeypatch.setattr(phantom, "write_figshare", write)
    monkeypatch.setattr(phantom, "write_chest_xray", write)
    first, second = notebooks.find([], both.folder)
    unknown = both.add("06_x", parameters=CELL.format("mine"))
    brain, chest = Path("data/phantom"), Path("data/phantom-chest")
    assert folders.write_embedded([first, unknown]) == [brain]
    assert folders.write_embedded([second, first]) == [brain, chest]
    assert folders.write_embedded() == [brain, chest]
    slices, radiographs = (brain, phantom.EMBEDDED), (chest, {"patients": 50, "seed": 0})
    assert [written.count(one) for one in (slices, radiographs)] == [3, 2]


def test_every_notebook_of_the_series_reads_embedded_data():
    known = {folder.name for folder in folders.EMBEDDED}
    for notebook in notebooks.find([]):
        assert Path(str(notebook.defaults["data_dir"])).name in known, notebook.name
