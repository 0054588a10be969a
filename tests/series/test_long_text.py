"""What programs and people write may be one line of any length: it is read in one pass."""

import io
import json
import signal
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook, new_output
from tqdm import tqdm

from medsr_lib.series import outputs, parameters
from medsr_lib.series.kaggle import kernel
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.pages import page
from medsr_lib.series.running import execute

SIZE = 2_000_000


def bars(text):
    outputs.without_progress([new_output("stream", name="stderr", text=text)])


def position(text):
    with execute.Stop() as stop:
        at = execute.Position(Notebook(Path("a.ipynb"), new_notebook()), stop)
        at.bar = tqdm(total=4, file=io.StringIO(), disable=False)
        at.write(text)


def prose(text):
    for source in (text, f"# a{text}\n\n**{text}**"):
        found = Notebook(Path("a.ipynb"), new_notebook(cells=[new_markdown_cell(source)]))
        assert len(found.title + found.question) <= 2 * len(source)


def html(text):
    page.reachable(page.accessible(text))
    page.HEADING.findall(text)


def context(text):
    kernel.context_of(json.dumps({"cells": [{"source": [text]}]}))


def value(text):
    parameters.parse([f"x={text}"])


@pytest.fixture
def in_time():
    """Five minutes for what takes a second, and would take for ever in a pattern that goes back."""
    if sys.platform == "win32":
        yield
        return
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.alarm(300)
    yield
    signal.alarm(0)


@pytest.mark.parametrize(
    ("read", "pieces"),
    [
        (bars, ["x", "1", "1%|", "[1:1", "1%|[1:1] "]),
        (position, ["x", "\x1b["]),
        (prose, ["#", "[", "[a](", "**"]),
        (html, ["<tbody>", "<th", "<pre", '<h2 id="x">']),
        (context, ["\nchain = json.loads(r'''"]),
        (value, ["x #"]),
    ],
)
def test_two_megabytes_are_read_in_one_pass(read, pieces, in_time):
    for piece in pieces:
        read(piece * (SIZE // len(piece)))
