import base64
import io
from pathlib import Path

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from medsr_lib.series.clean import executed, with_outputs, without_progress

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
    outputs = without_progress([stderr(text) for text in texts])
    assert "".join(output.text for output in outputs) == kept
    assert len(outputs) == bool(kept)


def test_stdout_is_left_alone_and_joined():
    outputs = [new_output("stream", text=text) for text in ("50%|x| 1/2 [00:00<00:00]\r", "b")]
    assert [o.text for o in without_progress(outputs)] == ["50%|x| 1/2 [00:00<00:00]\rb"]


def pair(*outputs):
    """A source notebook, and the same as papermill leaves it."""
    source = new_notebook(cells=[new_code_cell("1", id="one")])
    injected = new_code_cell("x = 2", metadata={"tags": ["injected-parameters"]})
    done = new_code_cell("1", id="one", outputs=list(outputs), execution_count=7)
    done.metadata.papermill = {"duration": 1.0}
    run = new_notebook(cells=[injected, done])
    run.metadata.papermill = {"input_path": "/home/me/x.ipynb"}
    run.metadata.widgets = {"state": {}}
    return source, run


def test_outputs_move_and_nothing_else_does():
    source, run = pair(
        stderr(BARS), new_output("execute_result", {"text/plain": "1"}, execution_count=7)
    )
    kept = with_outputs(source, run, local=[Path("/home/me")])
    assert [(c.id, c.execution_count) for c in kept.cells] == [("one", 1)]
    assert [o.data["text/plain"] for o in kept.cells[0].outputs] == ["1"]
    assert kept.cells[0].outputs[0].execution_count == 1
    assert set(kept.metadata) == {"kernelspec", "language_info", "medsr"}
    assert kept.metadata.kernelspec.name == "python3"
    assert kept.cells[0].metadata == {}


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
    source, run = pair(output)
    with pytest.raises(ValueError, match="the output of code cell 1 has the local path /home/me"):
        with_outputs(source, run, local=[Path("/home/me")])


def test_what_only_looks_like_a_path_is_kept():
    source, run = pair(
        new_output("stream", text="/home/member"),
        new_output("display_data", {"image/jpeg": "AA/home/me=="}),
    )
    assert len(with_outputs(source, run, local=[Path("/home/me"), Path("/")]).cells[0].outputs) == 2


def test_pictures_get_a_palette_and_keep_their_pixels():
    image = Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).convert("RGB")
    image.save(file := io.BytesIO(), "PNG", compress_level=0)
    png = base64.b64encode(file.getvalue()).decode()
    source, run = pair(new_output("display_data", {"image/png": png}))
    kept = with_outputs(source, run, local=[]).cells[0].outputs[0].data["image/png"]
    assert len(kept) < len(png) / 2
    shown = Image.open(io.BytesIO(base64.b64decode(kept))).convert("RGB")
    assert np.array_equal(np.asarray(shown), np.asarray(image))


def test_widgets_are_left_out():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "Box()"}
    source, run = pair(new_output("display_data", view))
    assert with_outputs(source, run, local=[]).cells[0].outputs == []


def test_a_widget_that_has_a_picture_keeps_it():
    packed = io.BytesIO()
    Image.new("L", (4, 4)).save(packed, "PNG")
    picture = base64.b64encode(packed.getvalue()).decode()
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "image/png": picture}
    source, run = pair(new_output("display_data", view))
    run.metadata.widgets = {"state": {}}
    kept = with_outputs(source, run, local=[]).cells[0].outputs
    assert [list(output.data) for output in kept] == [["image/png"]]
    assert "widgets" not in executed(run).metadata


def test_code_edited_since_the_run_is_refused():
    source, run = pair()
    source.cells[0].source = "2"
    with pytest.raises(ValueError, match="no longer the code that was run"):
        with_outputs(source, run, local=[])


def test_a_copy_loses_banners_and_timings():
    _, run = pair(stderr(BARS))
    run.cells.insert(0, new_code_cell("", metadata={"tags": ["papermill-error-cell-tag"]}))
    run.cells[2].metadata.execution = {"iopub.status.busy": "2024"}
    copy = executed(run)
    assert [cell.source for cell in copy.cells] == ["x = 2", "1"]
    assert copy.cells[1].metadata == {}
    assert copy.cells[1].outputs == []
    assert "papermill" not in copy.metadata
