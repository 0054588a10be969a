"""The notebooks on radiographs, executed with small parameters, and what they recorded."""

import shutil

import chains
import numpy as np
import pandas as pd
import pytest
from small import DENOISING, DETECTION, play
from states import identical, state_in

from medsr_lib.data import phantom
from medsr_lib.restore.training import checkpoint, readers
from medsr_lib.restore.training.clock import Clock
from medsr_lib.series import notebook as notebooks
from medsr_lib.series import run


@pytest.fixture(scope="session")
def radiographs(tmp_path_factory):
    """A folder of synthetic radiographs of 30 patients."""
    folder = tmp_path_factory.mktemp("chest") / "data"
    phantom.write_chest_xray(folder, patients=30, seed=1, size=120)
    return folder


@pytest.fixture(scope="session")
def out(tmp_path_factory):
    """Where notebook 08 leaves its networks."""
    return tmp_path_factory.mktemp("chest_out")


@pytest.fixture(scope="session")
def denoised(radiographs, out) -> dict:
    """What notebook 08 recorded."""
    (result,) = run.run(["08"], data=radiographs, out=out, parameters=DENOISING)
    assert result.error is None
    return result.record["values"]


@pytest.mark.slow
def test_08_names_what_the_files_reveal(denoised):
    found = denoised
    assert found["metadata"]["value"] > 0.95 > found["metadata_after"]["value"]
    assert (found["patients"], found["test_patients"]) == (30, 10)


@pytest.mark.slow
def test_08_measures_all_methods_at_every_kind_and_level(denoised):
    found = denoised
    tuned = ["median", "bilateral", "non-local means", "total variation"]
    methods = ["noisy", "linear", *tuned, "autoencoder"]
    rows = {
        (r["noise"], r["level"], r["method"], r["metric"]): r["value"] for r in found["quality"]
    }
    assert len(rows) == 3 * 2 * len(methods) * 3
    assert [row["filter"] for row in found["filters"]] == tuned
    assert rows["gaussian", 0.2, "noisy", "psnr"] < rows["gaussian", 0.05, "noisy", "psnr"] - 8
    for row in found["gains"]:
        if row["metric"] == "psnr":
            at = row["noise"], row["level"]
            best = max(rows[*at, name, "psnr"] for name in ["linear", *tuned])
            assert rows[*at, row["baseline"], "psnr"] == pytest.approx(best)
    primary = found["primary"]
    assert primary["low"] <= primary["value"] <= primary["high"]
    assert primary["seed_low"] < primary["value"] < primary["seed_high"]
    assert {row["seeds"] for row in found["gains"]} == {primary["seeds"]} == {2}
    of_method = {row["method"]: row["seeds"] for row in found["quality"]}
    assert {name for name, seeds in of_method.items() if seeds} == {"autoencoder"}


@pytest.mark.slow
def test_08_upscales_at_both_scales_and_keeps_its_networks(denoised):
    found = denoised
    table = {(row["scale"], row["method"]): row for row in found["upscaled"]}
    assert list(table) == [
        (s, m) for s in (2, 4) for m in ("bicubic", "lanczos", "linear", "ESPCN", "SRResNet")
    ]
    assert table[2, "bicubic"]["psnr"] > table[4, "bicubic"]["psnr"] + 2
    assert {row["cases"] for row in table.values()} == {found["test_images"]}
    each = 16 + 2 * (16 + 4)  # the autoencoder; both networks at both scales
    assert (found["done"], found["steps_done"]) == (True, 2 * 2 * each)
    for name, gain in found["sr_gains"].items():
        assert gain["seeds"] == 2
        if name.startswith("linear"):  # it is the same beside each training
            assert gain["seed_low"] == pytest.approx(gain["seed_high"])
        else:
            assert gain["seed_low"] < gain["value"] < gain["seed_high"]


@pytest.mark.slow
def test_08_gives_every_gain_with_and_without_one_compression(denoised):
    gains = {(row["images"], row["gain"]): row for row in denoised["compression"]}
    stored, pressed, apart = (
        {gain: row for (images, gain), row in gains.items() if images == kind}
        for kind in ("as stored", "one JPEG 75", "difference")
    )
    assert list(stored) == list(pressed) == list(apart)
    assert stored["autoencoder, mixed 0.2, psnr"]["value"] == denoised["primary"]["value"]
    for gain, row in stored.items():
        assert row["value"] != pressed[gain]["value"]
        assert row["cases"] == pressed[gain]["cases"] == denoised["test_images"]
        assert apart[gain]["value"] == pytest.approx(pressed[gain]["value"] - row["value"])
        assert row["seeds"] == apart[gain]["seeds"] == 2


@pytest.mark.slow
def test_08_ends_within_its_trainings_and_a_later_session_resumes_there(
    radiographs, tmp_path, monkeypatch
):
    name, first, second = "08_chest_xray", tmp_path / "first", tmp_path / "second"
    small = {"steps": 4, "espcn_steps": 4, "upscalers": ["ESPCN"], "scales": [2], "limit": 4}
    small |= {"noises": ["gaussian"], "levels": [0.1], "data_dir": str(radiographs)}
    options = DENOISING | small | {"hours": 1000.0}
    (notebook,) = notebooks.find(["08"])
    whole = play(notebook.content, **options, out_dir=str(tmp_path / "whole"))
    folder = chains.notebook_that_stops(
        tmp_path / "notebooks", name="08", behind="session.begin(", after=12
    )
    (stopped,) = notebooks.find(["08"], folder)
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "has_time_left", Clock.has_time_left)  # put back after the session
        assert not play(stopped.content, **options, out_dir=str(first))["done"]
    steps = {p.name: checkpoint.load(p)["step"] for p in (first / name).glob("*_checkpoint.pt")}
    assert sorted(steps.values()) == [1, 4, 4]
    assert steps["autoencoder_seed1_checkpoint.pt"] == 1
    found = play(notebook.content, **options, out_dir=str(second), resume_from=str(first / name))
    for path in (second / name).glob("*_checkpoint.pt"):
        assert identical(state_in(path), state_in(tmp_path / "whole" / name / path.name))
    assert (found["done"], found["trainings"]) == (whole["done"], whole["trainings"]) == (True, 2)
    assert found["sr_gains"] == whole["sr_gains"]


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """Where notebook 09 finds no networks of notebook 08."""
    return tmp_path_factory.mktemp("alone")


@pytest.fixture(scope="session")
def detected(radiographs, alone) -> dict:
    """What notebook 09 recorded there."""
    (result,) = run.run(["09"], data=radiographs, out=alone, parameters=DETECTION)
    assert result.error is None
    return result.record["values"]


@pytest.mark.slow
def test_09_finds_the_class_in_the_files_and_gives_both_detectors(detected):
    assert detected["metadata"]["auc"]["value"] > 0.95
    assert len(detected["auc"]) == 2
    for area in detected["auc"].values():
        assert 0 <= area["low"] <= area["value"] <= area["high"] <= 1
    before, after = (area["value"] for area in detected["auc"].values())
    assert detected["removal"]["value"] == pytest.approx(after - before)


@pytest.mark.slow
def test_09_tests_every_patient_by_every_training(detected):
    assert (detected["images"], detected["patients"], detected["restored_patients"]) == (50, 30, 10)
    for area in detected["auc"].values():
        assert (area["seeds"], area["patients"]) == (detected["trainings"], 30)
        assert area["seed_low"] <= area["value"] <= area["seed_high"]
    assert [row["patients"] for row in detected["operating_points"]][::3] == [30, 30]
    for row in detected["calibration"]:
        assert row["min"] <= row["mean"] <= row["max"]
        assert row["chance"] > 0


@pytest.mark.slow
def test_09_compares_every_view_with_the_originals(detected):
    kinds = ("unrestored", "linear", "median", "non-local means")
    views = ["×2, bicubic", "×2, linear", *(f"noise 0.1, {m}" for m in kinds)]
    assert [row["method"] for row in detected["changes"]] == views
    single = [row for row in detected["decisions"] if row["seed"] != "majority"]
    by_method = {m: [r for r in single if r["method"] == m] for m in ("original", *views)}
    original = np.mean([row["auc"] for row in by_method["original"]])
    for change in detected["changes"]:
        rows = by_method[change["method"]]
        assert len(rows) == detected["trainings"]
        assert np.mean([r["auc"] for r in rows]) - original == pytest.approx(change["value"])
        assert change["low"] <= change["value"] <= change["high"]
        assert all(r["flipped"] == r["to_wrong"] + r["to_right"] for r in rows)
    assert [row["method"] for row in detected["rights"]] == views
    assert {row["label"] for row in detected["shifts"]} == {"NORMAL", "PNEUMONIA"}


@pytest.mark.slow
def test_09_shows_the_zero_line_of_attention_and_of_flips(detected):
    shown = {row["method"]: row for row in detected["attention"]}
    assert {"another patient", "another training", "×2, bicubic"} <= set(shown)
    assert len(detected["differing"]) == 1  # pairs of trainings


@pytest.mark.slow
def test_09_takes_the_networks_of_08_and_its_own_detectors_in(
    radiographs, denoised, detected, out, alone, monkeypatch
):
    detectors = "09_disease_detection/detectors"
    shutil.copytree(alone / detectors, out / detectors)
    monkeypatch.setattr(readers, "fit_classifier", None)  # all are saved
    (out / "net.py").write_text(
        "import torch.nn.functional as F\n"
        "def twice(lr): return F.interpolate(lr, scale_factor=2, mode='nearest')\n"
    )
    (notebook,) = notebooks.find(["09"])
    folders = {"data_dir": str(radiographs), "out_dir": str(out)}
    methods = [f"theirs={out / 'net.py'}:twice"]
    recorded = play(notebook.content, **DETECTION | folders, methods=methods)
    of_both = (recorded["changes"], detected["changes"])
    found, before = ({r["method"]: r for r in of} for of in of_both)
    assert {"×2, ESPCN", "×2, SRResNet", "×2, theirs", "noise 0.1, autoencoder"} <= set(found)
    assert found["×2, bicubic"]["auc"] == pytest.approx(before["×2, bicubic"]["auc"])
    rows = pd.read_csv(out / "09_disease_detection" / "decisions.csv").query("seed == 0")
    assert rows.query("method == 'original'")["psnr"].isna().all()
    for row in recorded["quality"]:  # each image's own scores are kept, too
        mean = rows.loc[rows["method"] == row["method"], ["psnr", "ssim"]].mean()
        assert [row["psnr"], row["ssim"]] == pytest.approx(list(mean), rel=1e-5)
