"""What is kept of the outputs of a run."""

import base64
import io
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.report import Result, Status

BARS = (
    "\rsteps:   0%|          | 0/9 [00:00<?, ?it/s]"
    "\rsteps:  50%|█████     | 4/9 [00:01<00:01, 2.00it/s, loss=0.5]"
)


def stderr(text):
    return new_output("stream", name="stderr", text=text)


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ([BARS, BARS, "\n"], ""),
        ([BARS + "\n"], ""),
        (["a.py:1: UserWarning: small\n  warn()\n"], "a.py:1: UserWarning: small\n  warn()\n"),
        ([BARS + "a.py:1: UserWarning: small\n", BARS], "a.py:1: UserWarning: small\n"),
        (["before\n" + BARS + "\nafter\n"], "before\nafter\n"),
        (["before\n", BARS, "\n\x1b[A\r", "after\n"], "before\nafter\n"),
        (["\r12it [00:03,  4.00it/s]\n"], ""),
        (["\r1.00kB [00:03, 4.00kB/s]\n"], ""),
        (["\rloading 1 of 2\rloading 2 of 2"], ""),
    ],
)
def test_bars_go_and_warnings_stay(texts, kept):
    found = outputs.without_progress([stderr(text) for text in texts])
    assert "".join(output.text for output in found) == kept
    assert len(found) == bool(kept)


def test_stdout_is_left_alone_and_joined():
    texts = [new_output("stream", text=text) for text in ("50%|x| 1/2 [00:00<00:00]\r", "b")]
    assert [o.text for o in outputs.without_progress(texts)] == ["50%|x| 1/2 [00:00<00:00]\rb"]


def pair(*found):
    """A source notebook, and the same as papermill leaves it."""
    source = new_notebook(cells=[new_code_cell("1", id="one")])
    injected = new_code_cell("x = 2", metadata={"tags": ["injected-parameters"]})
    done = new_code_cell("1", id="one", outputs=list(found), execution_count=7)
    done.metadata.papermill = {"duration": 1.0}
    run = new_notebook(cells=[injected, done])
    run.metadata.papermill = {"input_path": "/home/me/x.ipynb"}
    run.metadata.widgets = {"state": {}}
    return Notebook(Path("a.ipynb"), source), Notebook(Path("b.ipynb"), run)


def kept(*found, local=()):
    """The source notebook's content with these outputs of a run."""
    source, run = pair(*found)
    outputs.keep(source, run, local=local)
    return source.content


def test_outputs_move_and_nothing_else_does():
    result = new_output("execute_result", {"text/plain": "1"}, execution_count=7)
    content = kept(stderr(BARS), result, local=[Path("/home/me")])
    assert [(c.id, c.execution_count) for c in content.cells] == [("one", 1)]
    assert [o.data["text/plain"] for o in content.cells[0].outputs] == ["1"]
    assert content.cells[0].outputs[0].execution_count == 1
    assert set(content.metadata) == {"kernelspec", "language_info", "medsr"}
    assert content.metadata.kernelspec.name == "python3"
    assert content.cells[0].metadata == {}


@pytest.mark.parametrize(
    "output",
    [
        new_output("stream", text="saved to /home/me/runs/x.png\n"),
        new_output("display_data", {"text/html": "<b>/home/me</b>"}),
        new_output("display_data", {"application/json": {"path": "/home/me/x"}}),
        stderr("/home/me/a.py:3: UserWarning: small\n"),
    ],
)
def test_a_local_path_is_refused_with_its_cell(output):
    with pytest.raises(ValueError, match="the output of code cell 1 has the local path /home/me"):
        kept(output, local=[Path("/home/me")])


def test_what_only_looks_like_a_path_is_kept():
    text = new_output("stream", text="/home/member")
    image = new_output("display_data", {"image/jpeg": "AA/home/me=="})
    assert len(kept(text, image, local=[Path("/home/me"), Path("/")]).cells[0].outputs) == 2


def test_pictures_get_a_palette_and_keep_their_pixels():
    image = Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).convert("RGB")
    image.save(file := io.BytesIO(), "PNG", compress_level=0)
    png = base64.b64encode(file.getvalue()).decode()
    (output,) = kept(new_output("display_data", {"image/png": png})).cells[0].outputs
    packed = output.data["image/png"]
    assert len(packed) < len(png) / 2
    shown = Image.open(io.BytesIO(base64.b64decode(packed))).convert("RGB")
    assert np.array_equal(np.asarray(shown), np.asarray(image))


def test_widgets_are_left_out_and_their_pictures_kept():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    view["application/vnd.medsr.viewer"] = "<div>of a page</div>"
    picture = outputs.packed(Image.new("L", (4, 4)))
    alone = new_output("display_data", view | {"text/plain": "Box()"})
    both = new_output("display_data", view | {"image/png": picture})
    content = kept(alone, both)
    assert [list(output.data) for output in content.cells[0].outputs] == [["image/png"]]


def test_code_edited_since_the_run_is_refused():
    source, run = pair()
    source.content.cells[0].source = "2"
    with pytest.raises(ValueError, match="no longer the code that was run"):
        outputs.keep(source, run, local=[])


def test_a_copy_loses_banners_and_timings():
    _, run = pair(stderr(BARS))
    run.content.cells.insert(0, new_code_cell("", metadata={"tags": ["papermill-error-cell-tag"]}))
    run.content.cells[2].metadata.execution = {"iopub.status.busy": "2024"}
    copy = outputs.clean(run.content)
    assert [cell.source for cell in copy.cells] == ["x = 2", "1"]
    assert copy.cells[1].metadata == {}
    assert copy.cells[1].outputs == []
    assert not {"papermill", "widgets"} & set(copy.metadata)


def finished(series, text="hello"):
    """A notebook and what a run of it would have left, without running it."""
    source = series.add("01_first", "print('hello')")
    source.content.cells[2].outputs = [new_output("stream", text=text)]
    series.out.mkdir(parents=True)
    copy = series.out / "01_first.ipynb"
    nbformat.write(source.content, copy)
    parameters = {"data_dir": str(series.data), "out_dir": str(series.out)}
    return Result("01_first", Status.DONE, parameters=parameters, executed=copy)


def test_refresh_keeps_the_outputs_in_the_notebook(series):
    (path,) = outputs.refresh([finished(series)], series.folder)
    found = notebooks.read(path)
    assert found.content.cells[2].outputs[0].text == "hello"
    assert [cell.id for cell in found.content.cells] == ["cell0", "cell1", "cell2"]
    assert found.content.metadata[outputs.ORIGIN] == outputs.origin(found)


def test_refresh_writes_none_if_one_cannot_be_kept(series):
    result = finished(series)
    series.add("02_b")
    before = (series.folder / "01_first.ipynb").read_bytes()
    with pytest.raises(ValueError, match="02_b: not run"):
        outputs.refresh([result, Result("02_b")], series.folder)
    assert (series.folder / "01_first.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{out}", "01_first: the output of code cell 2 has the local path"),
        ("x" * outputs.LARGEST, "01_first has 5001 kB with its outputs, more"),
    ],
)
def test_refresh_refuses_local_paths_and_large_notebooks(series, text, message):
    result = finished(series, text.replace("{out}", str(series.out)))
    with pytest.raises(ValueError, match=message):
        outputs.refresh([result], series.folder)
