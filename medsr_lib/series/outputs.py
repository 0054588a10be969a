"""Outputs of executed notebooks, without what only the run needed: bars, timings, local paths."""

import base64
import io
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from PIL import Image

import medsr_lib
from medsr_lib.files import home
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import report
from medsr_lib.series.notebook import FOLDERS, Notebook
from medsr_lib.series.report import Result, Status

# tqdm's bars: "name:  12%|###   | 12/99 [00:05<00:40, 2.1it/s]" and "name: 12it [00:05, 2.1it/s]";
# a program's stderr may be one line of any length, so that no pattern here may run over it twice
PERCENT = re.compile(r"\d%\|")
COUNT = re.compile(r"\d[kMG]?[A-Za-z]{0,20}(?:/s)? ?$")
TIMES = re.compile(r"\[\d+:\d+[^][]*\]")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
MARKER = "papermill-error-cell-tag"  # of the banners that papermill adds
ORIGIN = "medsr"  # of the outputs, in a kept notebook's metadata
WIDGET = "application/vnd.jupyter.widget-view+json"
VIEWER = "application/vnd.medsr.viewer"  # of a page, as HTML: megabytes
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "file_extension": ".py", "pygments_lexer": "ipython3"}
LARGEST = 5_000_000  # bytes of a notebook that is kept with its outputs


def clean(content: Any) -> Any:
    """Remove papermill's error banners, timings, paths and progress bars from a notebook.

    Of interactive widgets the picture is kept: without a kernel they show nothing, and a page would
    fetch their program from the network.
    """
    content.cells = [cell for cell in content.cells if MARKER not in notebooks.tags(cell)]
    for cell in content.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                output
                for output in without_progress(cell.outputs)
                if output.get("data", {}).pop(WIDGET, None) is None or "image/png" in output.data
            ]
    return neutral(content)


def neutral(content: Any) -> Any:
    """Remove what papermill wrote into the metadata, and name the kernel as every computer does."""
    for metadata in (content.metadata, *(cell.metadata for cell in content.cells)):
        for name in ("papermill", "execution", "widgets"):
            metadata.pop(name, None)
    content.metadata.kernelspec = KERNEL
    content.metadata.language_info = LANGUAGE
    return content


def without_progress(outputs: Iterable[Any]) -> list[Any]:
    """Outputs with the progress bars removed from stderr; warnings stay, in one piece."""
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


def keep(source: Notebook, run: Notebook, *, local: Iterable[Path]) -> None:
    """Give the notebook `source` the outputs that its executed copy `run` got.

    Nothing else of `source` changes, but its metadata say whose outputs they are (see `origin`).

    Args:
        source: the notebook of the series; its content is changed.
        run: the same notebook, executed by papermill.
        local: folders whose absolute path must not appear in an output.

    Raises:
        ValueError: `source` was edited since the run, or an output has a local path in it.
    """
    if source.digest != run.digest:
        raise ValueError("its code is no longer the code that was run; run it again")
    clean(run.content)
    for number, (cell, done) in enumerate(zip(source.code, run.code), start=1):
        cell.outputs = done.outputs
        cell.execution_count = number
        for output in cell.outputs:
            output.get("data", {}).pop(VIEWER, None)
            if output.output_type == "execute_result":
                output.execution_count = number
            if png := output.get("data", {}).get("image/png"):
                image = Image.open(io.BytesIO(base64.b64decode(png)))
                output.data["image/png"] = min(png, packed(image), key=len)  # git keeps them all
        _refuse_paths(cell.outputs, number, local)
    neutral(source.content).metadata[ORIGIN] = origin(source)


def refresh(results: Sequence[Result], folder: Path | None) -> list[Path]:
    """Put the outputs of a finished run into the notebooks of `folder`: all of them, or none.

    Raises:
        ValueError: a notebook failed, ran with other parameters than its own, was edited since,
            shows a local path, or becomes too large.
    """
    sources = notebooks.find([result.notebook for result in results], folder)
    by_name = {result.notebook: result for result in results}
    texts = {source.path: _refreshed(source, by_name[source.name]) for source in sources}
    return [report.write(path, text) for path, text in texts.items()]


def origin(notebook: Notebook) -> dict[str, str]:
    """What outputs come from: the library's version, and the digest of the code."""
    return {"version": medsr_lib.__version__, "code": notebook.digest}


def text(content: Any) -> str:
    """A notebook as the text of its file."""
    import nbformat

    return str(nbformat.writes(content)).rstrip("\n") + "\n"


def packed(image: Image.Image) -> str:
    """An image as a base64 PNG in a palette of 256 colours, on white where it is transparent."""
    file = io.BytesIO()
    white = Image.new("RGBA", image.size, "white")
    image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    image = image.quantize(256, kmeans=1, dither=Image.Dither.NONE)
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _refreshed(source: Notebook, result: Result) -> str:
    name = result.notebook
    if result.status is not Status.DONE or result.executed is None:
        raise ValueError(f"{name}: {result.status}; only a finished run can be kept")
    if result.changed:
        raise ValueError(f"{name} ran with its own {', '.join(result.changed)}; run the defaults")
    local = [Path(str(result.parameters[n])) for n in FOLDERS]
    local += [home(), Path.cwd(), source.path.parent.resolve()]
    local += [Path(sys.prefix), Path(gettempdir())]
    try:
        keep(source, notebooks.read(result.executed), local=local)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    kept = text(source.content)
    size = len(kept.encode())
    if size > LARGEST:
        raise ValueError(
            f"{name} has {size / 1000:.0f} kB with its outputs, more than {LARGEST / 1000:.0f} kB; "
            "make its figures smaller"
        )
    return kept


def _without_bars(text: str) -> str:
    plain = ESCAPES.sub("", text)
    lines = []
    for line in plain.split("\n"):
        first, *overwritten = line.split("\r")
        after = [rest for piece in overwritten if (rest := _after_bars(piece)) != piece]
        lines.append(_after_bars(first) + "".join(rest for rest in after if rest.strip()))
    if "\n".join(lines) == plain:
        return text if plain.strip() else ""
    return "".join(f"{line}\n" for line in lines if line.strip())


def _after_bars(line: str) -> str:
    """What follows the last progress bar of a line; all of it where there is none."""
    seen = end = 0
    for times in TIMES.finditer(line) if "[" in line else ():
        before = line[seen : times.start()]
        percent, last = PERCENT.search(before), before.rfind("|")
        bar = percent is not None and percent.end() <= last and "[" not in before[last:]
        if bar or COUNT.search(before[-30:]):
            end = times.end()
        seen = times.end()
    return line[end:]


def _refuse_paths(outputs: Iterable[Any], number: int, local: Iterable[Path]) -> None:
    found = "\n".join(_texts(outputs))
    for folder in local:
        for spelling in {str(folder), folder.as_posix(), str(folder).replace("\\", "\\\\")}:
            if len(spelling) > 3 and re.search(re.escape(spelling) + r"(?!\w)", found):
                raise ValueError(f"the output of code cell {number} has the local path {spelling}")


def _texts(outputs: Iterable[Any]) -> Iterable[str]:
    for output in outputs:
        yield output.get("text", "")
        yield from output.get("traceback", [])
        for kind, data in output.get("data", {}).items():
            if not kind.startswith("image/") or kind == "image/svg+xml":
                yield data if isinstance(data, str) else repr(data)
