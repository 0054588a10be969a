import nbformat
import numpy as np
import pytest
import small
from PIL import Image

from medsr_lib.data.layouts import DEFAULTS
from medsr_lib.series import notebook as notebooks
from medsr_lib.series.cli import main
from medsr_lib.series.report import Result, Status
from medsr_lib.series.running import assess


def scans(folder, *, masks, n=6):
    """Images of n patients, a bright disc in each, and its mask beside it if asked for."""
    y, x = np.mgrid[:96, :96]
    rng = np.random.default_rng(0)
    for i in range(n):
        head = 90 * (np.hypot(y - 48, x - 48) < 40) + 20 * np.sin(x / 5) * np.cos(y / (4 + i))
        disc = np.hypot(y - 40, x - 50 - i) < 9
        image = (head + 60 * disc + 4 * rng.standard_normal((96, 96)) + 30).clip(0, 255)
        path = folder / f"P{i}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.astype(np.uint8)).save(path)
        if masks:
            Image.fromarray(255 * disc.astype(np.uint8)).save(path.with_name(f"{i}_mask.png"))
    return folder


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["bicubic", "mine=net.onnx", "srmd"], "mine"),
        (["lanczos", "bicubic"], "bicubic"),
        (["nearest", "bicubic+consistent"], "bicubic+consistent"),
    ],
)
def test_the_first_method_that_is_no_interpolation_is_the_subject(methods, expected):
    assert assess.primary(methods) == expected


def test_without_masks_a_word_stands_in_place_of_the_cells_that_need_them():
    (found,) = notebooks.find([assess.NOTEBOOK])
    cut = assess.without_masks(found.content)
    sources = [cell.source for cell in cut.cells]
    assert sources[1] == assess.WITHOUT
    assert not [cell for cell in cut.cells if "masks" in cell.metadata.get("tags", [])]
    assert len(cut.cells) < len(found.content.cells) - 10
    assert len(found.code) == len(notebooks.find([assess.NOTEBOOK])[0].code)  # itself unchanged
    nbformat.validate(cut)


def test_what_the_page_says_first_is_printed():
    headlines = {"mine: gain": {"value": 1.25, "low": 1.0, "high": 1.5, "p": 0.01, "patients": 9}}
    record = {"values": {"headlines": headlines}}
    result = Result("04", "", "", "", {}, (), Status.DONE, record=record)
    assert assess.answers(result) == ["mine: gain: 1.25 (1.00 to 1.50), p = 0.01, n = 9 patients"]


def test_no_method_and_no_images_are_refused(tmp_path):
    settings = {"scale": 2, "out": tmp_path / "out", "options": DEFAULTS, "parameters": {}}
    with pytest.raises(ValueError, match="give at least one method"):
        assess.assess(tmp_path, [], **settings)
    with pytest.raises(FileNotFoundError, match="holds no images of a known kind"):
        assess.assess(tmp_path, ["lanczos"], **settings)


@pytest.mark.slow
@pytest.mark.parametrize("masks", [True, False])
def test_images_and_methods_become_one_page(tmp_path, monkeypatch, capsys, masks):
    monkeypatch.chdir(tmp_path)
    scans(tmp_path / "scans", masks=masks)
    (tmp_path / "lr").mkdir()
    for path in (tmp_path / "scans").glob("P?/?.png"):
        Image.open(path).reduce(2).save(tmp_path / "lr" / path.name)
        Image.open(path).save(tmp_path / path.name)
    (tmp_path / "lr" / "5.png").unlink()
    asked = ["--method", "lanczos", "--method", "theirs=dir:{id}.png", "--scale", "2"]
    asked += ["--lr", "lr", "--keep-going", "-p", "tissue=everything", "-p", "device=cpu"]
    assert main(["assess", "scans", *asked, "--out", "out"]) == 0
    assert "04_regional_ssim.html" in capsys.readouterr().out.splitlines()[-1]
    page = (tmp_path / "out" / "04_regional_ssim.html").read_text(encoding="utf-8")
    assert ("No lesion is outlined in these images" in page) != masks
    assert "unknown, not checked" in page
    assert small.has_viewer(tmp_path / "out" / "04_regional_ssim.html")
    found = assess.report.load_record(tmp_path / "out" / "04_regional_ssim")["values"]
    assert (found["patients"], found["left_out"]) == (5, 1)
    table = {(row["region"], row["method"]): row for row in found["table"]}
    places = {region for region, _ in table}
    assert places >= {"whole", "tumour", "matched"} if masks else places == {"whole"}
    assert {method for _, method in table} == {"bicubic", "linear", "lanczos", "theirs"}
    assert table["whole", "theirs"]["mse"] == pytest.approx(0, abs=1e-8)
    assert table["whole", "linear"]["psnr"] > table["whole", "lanczos"]["psnr"]
