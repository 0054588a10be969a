"""What a notebook file is, and which of the values given are for it."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from medsr_lib.series import notebook as notebooks


@pytest.mark.parametrize("name", ["02", "2", "02_b", "02_b.ipynb"])
def test_a_notebook_is_found_by_number_or_name(series, name):
    series.add("01_a")
    series.add("02_b")
    assert [found.name for found in notebooks.find([name], series.folder)] == ["02_b"]


def test_notebooks_come_in_their_order_and_once(series):
    names = [series.add(name).name for name in ("01_a", "02_b", "10_c")]
    assert [found.name for found in notebooks.find([], series.folder)] == names
    found = notebooks.find(["10", "01_a", "01"], series.folder)
    assert [one.name for one in found] == ["01_a", "10_c"]


def test_notebooks_that_do_not_exist(series, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no notebooks in .* \(NN_name.ipynb\)"):
        notebooks.find([], series.folder)
    series.add("01_a")
    series.add("02_b")
    with pytest.raises(ValueError, match="no notebook '03'; there are 01_a, 02_b"):
        notebooks.find(["01", "03"], series.folder)


def test_untitled_notebooks_and_copies_are_named_and_not_run(series):
    for name in ("01_a", "01_a-Copy1", "Untitled", "Untitled1", "10_lung-nodules"):
        series.add(name)
    with pytest.warns(
        match=r"not of the series: 01_a-Copy1.ipynb, Untitled.ipynb, Untitled1.ipynb"
    ):
        found = notebooks.find([], series.folder)
    assert [one.name for one in found] == ["01_a", "10_lung-nodules"]


def test_a_byte_order_mark_is_passed_over(series):
    path = series.add("01_a").path
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert notebooks.read(path).defaults["scale"] == 4


@pytest.mark.parametrize("content", [b"not json", b"[]", b"{}", b"\xff"])
def test_a_file_that_is_no_notebook(tmp_path, content):
    (tmp_path / "x.ipynb").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.ipynb is not a Jupyter notebook"):
        notebooks.read(tmp_path / "x.ipynb")


def test_title_and_question_are_plain_text(series):
    found = series.add("01_a", title="# 01 · The *first* [one](x.md)\n\n**Is it `so`?**\n\nText")
    assert (found.title, found.question) == ("01 · The first one", "Is it so?")
    assert series.add("02_b", title="No heading").title == ""


def test_the_digest_is_of_the_authors_code_alone(series):
    before = series.add("01_a", "1").digest
    other = series.add("01_a", "1", title="# Other")
    other.content.cells.append(new_code_cell("x", metadata={"tags": ["injected-parameters"]}))
    assert other.digest == before
    assert series.add("01_a", "2").digest != before


def test_one_parameters_cell_is_needed(series):
    path = series.add("01_a", "x = 1").path
    content = nbformat.read(path, 4)
    for tagged, number in (([1, 2], "2"), ([], "no")):
        for position in (1, 2):
            content.cells[position].metadata.tags = ["parameters"] * (position in tagged)
        nbformat.write(content, path)
        match = rf"01_a\.ipynb has {number} code cells tagged 'parameters'"
        with pytest.raises(ValueError, match=match):
            _ = notebooks.read(path).parameters


def test_values_go_to_the_notebooks_that_have_them(series):
    one = series.add("01_a")
    folders = 'data_dir = "x"\nout_dir = "y"\n'
    two = series.add("02_b", parameters=folders + "steps = 10\nscale = 4\nsize = [1]")
    given = notebooks.accepted([one, two], {"steps": 5, "scale": 2, "size": [3, 4]})
    assert given == {"01_a": {"scale": 2}, "02_b": {"steps": 5, "scale": 2, "size": [3, 4]}}


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            {"scal": 2, "limit": "many"},
            [
                "no parameter 'scal'; did you mean scale? The notebooks have: data_dir, limit, ",
                "01_a: limit is int | None (slices scored: None for all), not 'many' (str)",
            ],
        ),
        ({"data_dir": "x"}, ["data_dir is not given as a parameter; use --data"]),
        ({"out_dir": "x"}, ["out_dir is not given as a parameter; use --out"]),
    ],
)
def test_all_wrong_values_are_named_at_once(series, values, messages):
    with pytest.raises(ValueError, match="is") as caught:
        notebooks.accepted([series.add("01_a")], values)
    assert all(message in str(caught.value) for message in messages)


def test_a_notebook_that_cannot_be_given_its_folders(series):
    with pytest.raises(ValueError, match=r"01_a\.ipynb: no data_dir, out_dir in its parameters"):
        notebooks.accepted([series.add("01_a", parameters="scale = 4")], {})
