import json
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from medsr_lib.series import notebook as notebooks
from medsr_lib.series import run
from medsr_lib.series.notebook import Notebook
from medsr_lib.series.report import Result

PARAMETERS = """data_dir = "../data"  # folder of the slices
out_dir = "../out"  # folder of the run
scale = 4  # 2, 3, 4 or 8
rate: float = 1e-3  # learning rate
limit: int | None = None  # slices scored: None for all
"""
WORK = """import sys, time
from pathlib import Path
from tqdm import tqdm
from medsr_lib.series import report
folder = Path(out_dir) / "01_first"
for _ in tqdm(range(3), desc="reading"):
    time.sleep(0.1)
(folder / "dot.png").write_bytes(b"")
print("scale", scale, "limit", limit, "in", Path.cwd().name)"""
RECORD = """_ = report.record(
    folder,
    {"slices": 7, "psnr": 31.23456, "python": Path(sys.executable).as_posix(),
     "table": [{"region": "tumour", "ssim": 0.9}, {"region": "<whole>", "ssim": 0.95}]},
    {"dot.png": "A dot & <nothing> else."})"""


def notebook(
    *code: str, title: str = "# Title", parameters: str = PARAMETERS
) -> nbformat.NotebookNode:
    """A notebook of the series: a heading, the parameters cell, then the code."""
    cells = [new_markdown_cell(title), new_code_cell(parameters), *map(new_code_cell, code)]
    cells[1].metadata.tags = ["parameters"]
    for number, cell in enumerate(cells):
        cell.id = f"cell{number}"
    return new_notebook(cells=cells)


@dataclass
class Series:
    """A folder of notebooks with a folder of data beside it."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "notebooks"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def out(self) -> Path:
        return self.root / "runs" / "x {1}"

    def add(self, name: str, *code: str, **options: str) -> Notebook:
        path = self.folder / f"{name}.ipynb"
        nbformat.write(notebook(*code, **options), path)
        return notebooks.read(path)

    def run(self, *names: str, **options: object) -> list[Result]:
        settings = {"data": self.data, "out": self.out} | options
        return run.run(names, folder=self.folder, **settings)


def _series(root: Path) -> Series:
    series = Series(root)
    series.folder.mkdir()
    series.data.mkdir()
    return series


@pytest.fixture
def series(tmp_path: Path) -> Series:
    """An empty series to add notebooks to."""
    return _series(tmp_path)


def _break_kernel(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A user's kernel `python3` that leads nowhere."""
    folder = root / "jupyter" / "kernels" / "python3"
    folder.mkdir(parents=True)
    spec = {"argv": ["no-such-python"], "display_name": "Mine", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    patch.setenv("JUPYTER_PATH", str(root / "jupyter"))


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Series, list[Result]]:
    """Notebooks of which one is done, one fails and one is not reached, by this Python's kernel."""
    series = _series(tmp_path_factory.mktemp("series"))
    text = r"Equation $x_1 < \frac{a_i}{b}$ and a [next](02_second.ipynb)."
    series.add("01_first", WORK, RECORD, title=f"# 01 · The *first*\n\n{text}")
    series.add("02_second", "", "# why\nscale = scale / 0\nscale", title="# Second <b>")
    series.add("03_third", "1")
    with pytest.MonkeyPatch.context() as patch:
        _break_kernel(series.root, patch)
        results = series.run(parameters={"scale": 2}, at_a_time=1)
    return series, results
