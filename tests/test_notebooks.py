"""Every notebook is executed with small parameters, and what it recorded is checked."""

import json

import chains
import numpy as np
import pandas as pd
import pytest
import small
from PIL import Image
from small import parameters_of, play, played
from torch.utils.benchmark import Timer

from medsr_lib.assess import statistics
from medsr_lib.restore.training import checkpoint
from medsr_lib.restore.training.clock import Clock
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import outputs

NOTEBOOKS = notebooks.find([])
METHODS = ["bicubic", "ESPCN", "SRResNet", "SRGAN"]
MOST = "majority"


@pytest.fixture(scope="session")
def executed(ran_all) -> dict[str, dict]:
    """What each notebook on slices recorded."""
    return ran_all.values


@pytest.mark.slow
def test_01_counts_slices_and_patients(executed):
    found = executed["01_data_exploration"]
    assert (found["images"], found["patients"]) == (30, 15)
    assert sum(found["images_per_label"].values()) == 30
    assert found["leak_percent"]["split by patient"] == 0 < found["leak_percent"]["split by image"]
    assert 0.3 < found["lesion_percent_median"] < 6


def images_of(folder, *, masks):
    """Two patients with three images each, and perhaps their masks beside them."""
    y, x = np.mgrid[:40, :50]
    for n in range(6):
        path = folder / f"P{n // 3}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((3 * x + y + 9 * n).astype(np.uint8)).save(path)
        if masks:
            labels = 4 * (np.hypot(y - 20, x - 20 - n) < 5)
            Image.fromarray((labels + (x > 40)).astype(np.uint8)).save(
                f"{path.with_suffix('')}_mask.png"
            )
    return folder


@pytest.mark.parametrize("masks", [True, False])
def test_01_explores_images_of_anyone_with_or_without_masks(masks, tmp_path, capsys):
    reading = {"lesion_labels": [4], "patient_pattern": "P(.)"} if masks else {}
    data = images_of(tmp_path / "data", masks=masks)
    found = played("01", data, tmp_path, reading=reading)
    drawn = {path.stem for path in (tmp_path / "01_data_exploration").glob("*.png")}
    assert (found["patients"], found["images_per_label"]) == (2, {"no label": 6})
    assert found["leak_percent"]["split by patient"] == 0 < found["leak_percent"]["split by image"]
    assert drawn >= {"gallery", "counts"}
    assert ({"sizes", "locations"} <= drawn) == masks
    assert (found["lesion_percent_median"] is not None) == masks
    assert ("masks: none, so that only whole" in capsys.readouterr().out) != masks


@pytest.mark.slow
def test_pages_hold_the_viewer_alive_and_small(ran_all):
    for name in ("01_data_exploration", "02_espcn"):
        assert small.has_viewer(ran_all.out / f"{name}.html")


@pytest.mark.slow
def test_02_compares_all_methods_on_the_same_slices(executed):
    found = executed["02_espcn"]
    table = {row["method"]: row for row in found["table"]}
    assert list(table) == ["nearest", "bicubic", "lanczos", "zero_fill", "linear", "ESPCN"]
    assert {row["cases"] for row in table.values()} == {found["slices"]} == {6}
    assert table["bicubic"]["psnr"] > table["nearest"]["psnr"] + 1
    gain = table["ESPCN"]["psnr"] - table["bicubic"]["psnr"]
    estimate = found["gain_psnr_over_bicubic"]
    assert estimate["value"] == pytest.approx(gain)  # each patient has two slices
    assert (estimate["seeds"], estimate["patients"], estimate["p"]) == (2, 3, None)
    of_seed = [row["psnr"] for row in found["trainings"]]
    assert [table["ESPCN"]["psnr_min"], table["ESPCN"]["psnr_max"]] == sorted(of_seed)
    assert of_seed[0] != of_seed[1]
    assert found["done"]
    assert found["steps_done"] == 2 * 12


@pytest.mark.slow
def test_02_ends_in_its_second_training_and_a_later_session_resumes_there(
    brains, tmp_path, monkeypatch
):
    monkeypatch.setattr(Timer, "blocked_autorange", lambda timer, **_: timer.timeit(1))
    name, first, second = "02_espcn", tmp_path / "first", tmp_path / "second"
    few = {"limit": 2, "trainings": 3}
    played("02", brains, tmp_path / "whole", **few)
    folder = chains.notebook_that_stops(
        tmp_path / "notebooks", name="02", behind="session.begin(", after=52
    )
    (stopped,) = notebooks.find(["02"], folder)
    options = parameters_of("02") | few | {"data_dir": str(brains), "hours": 1000.0}
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "has_time_left", Clock.has_time_left)  # put back after the session
        found = play(stopped.content, **options, out_dir=str(first))
    assert not found["done"]
    steps = {p.name: checkpoint.load(p)["step"] for p in (first / name).glob("*_checkpoint.pt")}
    assert steps == {"espcn_checkpoint.pt": 12, "espcn_seed1_checkpoint.pt": 7}
    assert not (first / name / "espcn_seed1.pt").exists()
    found = played("02", brains, second, **few, hours=1000.0, resume_from=str(first / name))
    assert found["done"]
    assert (second / name / "espcn_seed2.pt").exists()
    assert chains.same_trainings(second / name, tmp_path / "whole" / name)


@pytest.mark.slow
def test_03_trains_srgan_and_compares_it_on_the_same_slices(executed):
    found = executed["03_srgan"]
    assert (found["done"], found["steps_done"]) == (True, 12)
    assert found["epochs_done"] == pytest.approx(12 * 8 / found["training_slices"])
    table = {(row["region"], row["method"]): row for row in found["table"]}
    espcn = executed["02_espcn"]["trainings"][0]["psnr"]
    assert table["whole", "ESPCN"]["psnr"] == pytest.approx(espcn, abs=1e-4)
    assert {row["cases"] for (region, _), row in table.items() if region == "whole"} == {6}
    assert all(row["perceptual"] > 0 for row in table.values())
    assert len(set(found["weights"].values())) == len(found["weights"]) == 3
    of_seed = [row["ssim"] for row in found["trainings"] if row["region"] == "tumour"]
    assert table["tumour", "SRResNet"]["ssim"] == pytest.approx(np.mean(of_seed))
    assert table["tumour", "SRResNet"]["ssim_max"] == max(of_seed)
    for name, gain in found["gains"].items():
        assert gain["seeds"] == (2 if "SRResNet −" in name else 0)


@pytest.mark.slow
def test_03_ends_well_when_its_session_has_no_time_to_train(brains, tmp_path):
    found = played("03", brains, tmp_path, hours=1e-3)
    assert (found["done"], found["steps_done"]) == (False, 0)


@pytest.mark.slow
def test_04_takes_the_networks_of_03_in(executed):
    table = {(r["region"], r["method"]): r for r in executed["04_regional_ssim"]["table"]}
    found = executed["03_srgan"]
    once = [row for row in found["table"] if row["method"] != "SRResNet"]
    for row in once + [row for row in found["trainings"] if row["seed"] == 0]:
        if row["region"] == "tumour" and row["method"] != "linear":  # 04 has more to fit it on
            other = table["tumour", row["method"]]
            assert other["psnr"] == pytest.approx(row["psnr"], abs=1e-4)
    bands = executed["04_regional_ssim"]["bands"]
    assert {"linear", "ESPCN", "SRResNet", "SRGAN"} == {row["method"] for row in bands}


@pytest.mark.slow
def test_04_measures_every_region_and_the_primary_contrast(executed):
    found = executed["04_regional_ssim"]
    table = {(row["region"], row["method"]): row for row in found["table"]}
    espcn = executed["02_espcn"]["trainings"][0]["psnr"]
    assert table["whole", "ESPCN"]["psnr"] == pytest.approx(espcn, abs=1e-4)
    assert table["tumour", "bicubic"]["cases"] + table["tumour", "bicubic"]["skipped"] == 6
    primary = found["primary"]
    assert primary["low"] <= primary["value"] <= primary["high"]
    assert primary["patients"] == 3
    bands = {r["method"]: r for r in found["bands"] if r["metric"] == "ssim"}
    assert bands["ESPCN"]["contrast"] == pytest.approx(primary["value"], abs=1e-9)
    assert bands["linear"]["verdict"] == "too few patients"
    share = {(r["method"], r["metric"], r["baseline"], r["region"]): r for r in found["deficits"]}
    assert share["bicubic", "ssim", "linear", "tumour"]["value"] < 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metrics"), [("04_regional_ssim", {"ssim", "psnr"}), ("06_decisions", {"dice"})]
)
def test_three_patients_are_too_few_for_a_verdict(executed, name, metrics):
    verdicts = executed[name]["verdicts"]
    assert {row["words"] for row in verdicts} == {"not enough data"}
    assert {row["metric"] for row in verdicts} == metrics


@pytest.mark.slow
def test_05_says_what_would_be_seen(executed):
    found = executed["05_appearance"]
    change = {(r["method"], r["metric"]): r["value"] for r in found["appearance"]}
    assert change["bicubic", "sharpness_change"] < 0
    shares = {(r["method"], r["metric"]): r for r in found["invention"] if r["region"] == "tumour"}
    names = ["improvement", "omission", "unlike_both"]
    for name in (*METHODS, "linear", "HR, low-pass", "HR, sharper low-pass"):
        parts = [shares[name, part]["value"] for part in names]
        assert sum(parts) == pytest.approx(1, abs=1e-3)
        assert shares["bicubic", "omission"]["value"] >= parts[1]
    assert (
        shares["HR, low-pass", "invented"]["value"]
        < 0.02
        < shares["linear", "unlike_both"]["value"]
    )
    assert shares["bicubic + noise", "unexplained"]["value"] > 0.95
    beyond = {row["method"]: row["value"] for row in found["beyond"]}
    assert beyond["bicubic"] < 0
    assert [row["method"] for row in found["painted_in"]] == ["bicubic", "linear", *METHODS[1:]]
    assert {row["words"] for row in found["painted_in"]} == {"not enough data"}
    assert found["slices"] == executed["04_regional_ssim"]["slices"]


@pytest.mark.slow
def test_masking_first_flatters_and_the_whole_slice_hides_the_tumour(executed):
    found = executed["04_regional_ssim"]
    for row in found["trap"]:
        assert row["masked first"] > row["mean over the tumour"]
        assert row["PSNR, masked first"] > row["PSNR of the tumour"] + 10
    assert found["erased"]["SSIM of HR with the tumour erased"] > 0.95


@pytest.mark.slow
def test_06_puts_lesions_in_and_asks_a_classifier_and_a_segmenter(executed):
    found = executed["06_decisions"]
    seen = {(r["method"], r["diameter"], r["contrast"]): r["d"] for r in found["lesions"]}
    assert seen["HR", 9, 0.1] > seen["HR", 9, 0.05]
    assert {(row["baseline"], row["method"]) for row in found["lesion_gains"]} == {
        ("bicubic", name) for name in ("linear", *METHODS[1:])
    }
    asked = [(m, k) for m in ("HR", "bicubic", "linear", *METHODS[1:]) for k in ("1", "2", MOST)]
    assert [(row["method"], row["seed"]) for row in found["types"]] == asked
    assert [(row["method"], row["seed"]) for row in found["outlines"]] == asked
    assert found["types"][0]["flipped"] == found["outlines"][0]["lost"] == 0


@pytest.mark.slow
def test_06_gives_the_range_over_trainings_and_no_equivalence_of_three_patients(executed):
    found = executed["06_decisions"]
    assert {row["seeds"] for row in found["decisions"]} == {found["trainings"]} == {2}
    for row in found["decisions"]:
        assert row["seed_low"] <= row["seed_high"]
    by_name = {(row["metric"], row["method"]): row for row in found["decisions"]}
    dice = [row["dice_difference"] for row in found["outlines"] if row["method"] == "bicubic"]
    mean = by_name["dice", "bicubic"]
    assert [mean["seed_low"], mean["seed_high"]] == pytest.approx(sorted(dice[:2]))
    assert {same["words"] for same in found["equivalence"].values()} == {"not enough data"}
    assert [row["each alone"] for row in found["verdicts"]] == ["not enough data: 2"] * 4


@pytest.mark.slow
def test_07_matches_training_with_test_and_needs_nobody_elses_network(executed):
    found = executed["07_existing_networks"]
    matrix = {row["trained on"]: row for row in found["robustness"]}
    kinds, noises = ["bicubic", "blur", "kspace"], ["bicubic, noise 1 %", "bicubic, noise 2 %"]
    assert list(matrix) == ["linear", *kinds, *noises, "lanczos"]
    assert len(found["conditions"]) == 3 * 5 - 1
    assert {row["words"] for row in found["conditions"]} == {"not enough data"}
    assert found["methods"] == {}
    gains = networks_of(found)
    assert {method for _, method, *_ in gains} == {"linear", "lanczos", "ESPCN, of these data"}
    for kind in kinds:
        for row, name in (("lanczos", "lanczos"), ("bicubic", "ESPCN, of these data")):
            gain = gains[kind, name, "psnr", "tumour"]
            assert gain["value"] == pytest.approx(matrix[row][kind], abs=1e-6)
            assert gain["cases"] == found["slices"] == 6
        assert gain["seeds"] == 2  # the trainings of ESPCN
        assert gain["seed_low"] <= gain["value"] <= gain["seed_high"]
        assert gains[kind, "lanczos", "psnr", "tumour"]["seeds"] == 0
    assert found["answer"].startswith("Against bicubic interpolation, in the tumour, an ESPCN")
    assert found["answer"].endswith("n = 3 patients, 2 trainings.")


def networks_of(found):
    """The rows of notebook 07's table, by degradation, method, metric and region."""
    names = ("tested on", "method", "metric", "region")
    return {tuple(row[name] for name in names): row for row in found["networks"]}


@pytest.mark.slow
def test_07_takes_the_methods_it_is_given(brains, tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch.nn.functional as F\n"
        "def twice(lr): return F.interpolate(lr, scale_factor=2, mode='nearest')\n"
    )
    methods = ["bicubic", f"mine={tmp_path / 'net.py'}:twice"]
    found = played("07", brains, tmp_path, methods=methods, robust_steps=2, trainings=1, limit=3)
    assert networks_of(found)["bicubic", "mine", "psnr", "tumour"]["value"] < -1
    assert list(found["methods"]) == ["mine"]


@pytest.mark.slow
def test_04_can_be_redone_from_its_report_and_rows(ran_all):
    folder = ran_all.out / "04_regional_ssim"
    told = json.loads((folder / "report.json").read_text())
    assert all((folder / name).is_file() for name in told["rows"])
    rows = pd.read_csv(folder / "scores.csv", dtype={"id": str, "patient": str})
    specs = [
        statistics.Contrast(
            *(row[k] for k in ("metric", "method", "baseline", "region", "reference"))
        )
        for row in told["contrasts"]
    ]
    again = statistics.contrasts(rows, specs, seed=told["parameters"]["seed"])
    for row, estimate in zip(told["contrasts"], again.values()):
        values = [row[k] if row[k] is not None else np.nan for k in ("value", "low", "high", "p")]
        assert [estimate.value, estimate.low, estimate.high, estimate.p] == pytest.approx(
            values, rel=1e-6, abs=1e-9, nan_ok=True
        )


@pytest.mark.slow
def test_04_takes_the_methods_it_is_given(ran_all, brains, tmp_path):
    espcn = ran_all.out / "02_espcn" / "espcn.pt"
    methods = ["lanczos", f"mine={espcn}"]
    found = played("04", brains, tmp_path, methods=methods, primary="mine", limit=3)
    named = dict.fromkeys(row["method"] for row in found["table"])
    assert list(named) == ["bicubic", "linear", "lanczos", "mine"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_notebook_is_fit_to_be_read(notebook):
    cells = notebook.content.cells
    assert notebook.path.stat().st_size < outputs.LARGEST
    assert notebook.content.metadata.kernelspec.name == "python3"
    assert notebook.parameters
    assert max(len(line) for cell in notebook.code for line in cell.source.splitlines()) <= 80
    kinds = "".join(cell.cell_type[0] for cell in cells)
    assert "ccc" not in kinds  # at most two code cells in a row
    assert "What this does not show" in "".join(cell.source for cell in cells)


@pytest.mark.parametrize("notebook", NOTEBOOKS[:6], ids=lambda n: n.name)
def test_half_of_the_cells_have_eight_lines_at_most(notebook):
    lines = [len(list(filter(str.strip, cell.source.splitlines()))) for cell in notebook.code]
    assert np.median(lines) <= 8


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_committed_outputs_are_complete_and_clean(notebook):
    code = notebook.code
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    found = [output for cell in code for output in cell.outputs]
    assert not [o for o in found if o.output_type == "error" or o.get("name") == "stderr"]
    assert any("image/png" in o.get("data", {}) for o in found)
    text = notebook.path.read_text(encoding="utf-8")
    assert not [p for p in ("/home/", "/root/", "/tmp/", "/Users/", "C:\\\\") if p in text]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda n: n.name)
def test_committed_outputs_are_of_this_version_and_this_code(notebook):
    refresh = "python3 tasks.py refresh makes them anew"
    assert notebook.content.metadata.get(outputs.ORIGIN) == outputs.origin(notebook), refresh
