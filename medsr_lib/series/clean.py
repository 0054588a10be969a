"""Executed notebooks without what only the run needed: progress bars, timings, local paths."""

import base64
import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

import medsr_lib

# tqdm's bars: "name:  12%|###   | 12/99 [00:05<00:40, 2.1it/s]" and "name: 12it [00:05, 2.1it/s]"
BAR = re.compile(
    r"[^\n]*?(?:\d+%\|[^\n]*?\|[^\n\[]*|\d+(?:\.\d+)?[kMG]?[A-Za-z]*(?:/s)? ?)\[\d+:\d+[^\]\n]*\]"
)
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
INJECTED = "injected-parameters"
MARKER = "papermill-error-cell-tag"
ORIGIN = "medsr"  # of the outputs, in a kept notebook's metadata
WIDGET = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}


def tags(cell: Any) -> list[str]:
    """The tags of a cell, none if it has none."""
    return list(cell.metadata.get("tags", []))


def code_cells(notebook: Any) -> list[Any]:
    """The code cells as their author wrote them, without the one papermill adds."""
    return [c for c in notebook.cells if c.cell_type == "code" and INJECTED not in tags(c)]


def executed(notebook: Any) -> Any:
    """The notebook papermill saved, without its error banners, timings, paths and progress bars.

    Of interactive widgets the picture is kept: without a kernel they show nothing, and a page would
    fetch their program from the network.
    """
    notebook.cells = [cell for cell in notebook.cells if MARKER not in tags(cell)]
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.kernelspec = KERNEL
    notebook.metadata.language_info = LANGUAGE
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = without_widgets(without_progress(cell.outputs))
    return notebook


def without_widgets(outputs: Iterable[Any]) -> list[Any]:
    """Outputs without interactive views; one that has a picture too keeps the picture."""
    kept = []
    for output in outputs:
        data = output.get("data", {})
        if data.pop(WIDGET, None) is None or "image/png" in data:
            kept.append(output)
    return kept


def without_progress(outputs: Iterable[Any]) -> list[Any]:
    """Outputs with the progress bars taken out of stderr; warnings stay, in one piece."""
    kept: list[Any] = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                output.text = _without_bars(output.text)
            if not output.text:
                continue
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        kept.append(output)
    return kept


def with_outputs(source: Any, run: Any, *, local: Iterable[Path]) -> Any:
    """The notebook `source` with the outputs that its copy `run` got.

    Nothing else of `source` changes, but its metadata say whose outputs they are (see `origin`).
    Of interactive widgets the picture is kept, if they have one.

    Args:
        source: the notebook as it is kept, in nbformat 4.
        run: the same notebook, executed by papermill.
        local: folders whose absolute path must not appear in an output.

    Raises:
        ValueError: `source` was edited since the run, or an output has a local path in it.
    """
    ours, theirs = code_cells(source), code_cells(run)
    if [cell.source for cell in ours] != [cell.source for cell in theirs]:
        raise ValueError("its code is no longer the code that was run; run it again")
    for number, (cell, done) in enumerate(zip(ours, theirs), start=1):
        cell.outputs = [_static(o) for o in without_widgets(without_progress(done.outputs))]
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
        _refuse_paths(cell.outputs, number, local)
    for cell in source.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    source.metadata.pop("papermill", None)
    source.metadata.pop("widgets", None)
    source.metadata.kernelspec = KERNEL
    source.metadata.language_info = LANGUAGE
    source.metadata[ORIGIN] = origin(source)
    return source


def origin(notebook: Any) -> dict[str, str]:
    """What outputs come from: the library's version, and the code as a sha256 of its cells."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return {"version": medsr_lib.__version__, "code": hashlib.sha256(code.encode()).hexdigest()}


def read(path: Path) -> Any:
    """Read a notebook as nbformat 4."""
    return nbformat.read(path, as_version=4)


def text(notebook: Any) -> str:
    """A notebook as the text of its file."""
    return str(nbformat.writes(notebook)).rstrip("\n") + "\n"


def _without_bars(text: str) -> str:
    if "\r" not in text and not BAR.search(text):
        return "" if not ESCAPES.sub("", text).strip() else text
    lines = [_without_bar(line) for line in ESCAPES.sub("", text).split("\n")]
    kept = "\n".join(line for line in lines if line.strip())
    return kept + "\n" if kept else ""


def _without_bar(line: str) -> str:
    first, *overwritten = line.split("\r")
    glued = [BAR.sub("", piece) for piece in overwritten if BAR.search(piece)]
    return BAR.sub("", first) + "".join(piece for piece in glued if piece.strip())


def _static(output: Any) -> Any:
    """Without timings, and with images in a palette of 256 colours where that is smaller."""
    output.get("metadata", {}).pop("papermill", None)
    data = output.get("data", {})
    if "image/png" in data:
        data["image/png"] = min(data["image/png"], _with_palette(data["image/png"]), key=len)
    return output


def _with_palette(png: str) -> str:
    """A base64 PNG in 256 colours: a notebook with all its figures stays small in git."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    packed = io.BytesIO()
    image.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def _refuse_paths(outputs: Iterable[Any], number: int, local: Iterable[Path]) -> None:
    found = "\n".join(_texts(outputs))
    for folder in local:
        spellings = {str(folder), folder.as_posix(), str(folder).replace("\\", "\\\\")}
        for spelling in spellings:
            if len(spelling) > 3 and re.search(re.escape(spelling) + r"(?!\w)", found):
                raise ValueError(f"the output of code cell {number} has the local path {spelling}")


def _texts(outputs: Iterable[Any]) -> Iterable[str]:
    for output in outputs:
        yield output.get("text", "")
        yield from output.get("traceback", [])
        for kind, data in output.get("data", {}).items():
            if not kind.startswith("image/") or kind == "image/svg+xml":
                yield data if isinstance(data, str) else repr(data)
