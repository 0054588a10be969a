"""The notebooks on radiographs, executed with small parameters, and what they recorded."""

import pytest
from small import DENOISING, DETECTION

from medsr_lib.data import phantom
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
    methods = ["noisy", "median", "bilateral", "non-local means", "total variation", "autoencoder"]
    rows = {
        (r["noise"], r["level"], r["method"], r["metric"]): r["value"] for r in found["quality"]
    }
    assert len(rows) == 3 * 2 * len(methods) * 3
    assert [row["filter"] for row in found["filters"]] == methods[1:-1]
    assert rows["gaussian", 0.2, "noisy", "psnr"] < rows["gaussian", 0.05, "noisy", "psnr"] - 8
    for row in found["gains"]:
        if row["metric"] == "psnr":
            at = row["noise"], row["level"]
            best = max(rows[*at, name, "psnr"] for name in methods[1:-1])
            assert rows[*at, row["baseline"], "psnr"] == pytest.approx(best)
    assert found["primary"]["low"] <= found["primary"]["value"] <= found["primary"]["high"]


@pytest.mark.slow
def test_08_upscales_at_both_scales_and_keeps_its_networks(denoised):
    found = denoised
    table = {(row["scale"], row["method"]): row for row in found["upscaled"]}
    assert list(table) == [
        (s, m) for s in (2, 4) for m in ("bicubic", "lanczos", "ESPCN", "SRResNet")
    ]
    assert table[2, "bicubic"]["psnr"] > table[4, "bicubic"]["psnr"] + 2
    assert {row["cases"] for row in table.values()} == {found["test_images"]}
    assert (found["done"], found["steps_done"]) == (True, 40)


@pytest.mark.slow
def test_08_gives_every_gain_with_and_without_one_compression(denoised):
    gains = {(row["images"], row["gain"]): row for row in denoised["compression"]}
    stored, pressed = (
        {gain: row for (images, gain), row in gains.items() if images == kind}
        for kind in ("as stored", "one JPEG 75")
    )
    assert list(stored) == list(pressed)
    assert stored["autoencoder, mixed 0.2, psnr"]["value"] == denoised["primary"]["value"]
    for gain, row in stored.items():
        assert row["value"] != pressed[gain]["value"]
        assert row["cases"] == pressed[gain]["cases"] == denoised["test_images"]


@pytest.fixture(scope="session")
def detected(radiographs, tmp_path_factory) -> dict:
    """What notebook 09 recorded, without the networks of notebook 08."""
    out = tmp_path_factory.mktemp("detected")
    (result,) = run.run(["09"], data=radiographs, out=out, parameters=DETECTION)
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
def test_09_compares_every_view_with_the_originals(detected):
    views = [
        "×2, bicubic",
        *(f"noise 0.1, {m}" for m in ("unrestored", "median", "non-local means")),
    ]
    assert [row["method"] for row in detected["changes"]] == views
    assert [row["method"] for row in detected["decisions"]] == ["original", *views]
    original, *others = detected["decisions"]
    assert (original["flipped"], original["cases"]) == (0, detected["images"])
    for row, change in zip(others, detected["changes"]):
        assert row["auc"] - original["auc"] == pytest.approx(change["value"])
        assert row["flipped"] == row["to_wrong"] + row["to_right"]
        assert change["low"] <= change["value"] <= change["high"]
    assert detected["attention"][0]["correlation"] == pytest.approx(1)
    assert {row["label"] for row in detected["shifts"]} == {"NORMAL", "PNEUMONIA"}


@pytest.mark.slow
def test_09_takes_the_networks_of_08_in(radiographs, denoised, detected, out):
    (result,) = run.run(["09"], data=radiographs, out=out, parameters=DETECTION)
    assert result.error is None
    found = {row["method"]: row for row in result.record["values"]["decisions"]}
    assert {"×2, ESPCN", "×2, SRResNet", "noise 0.1, autoencoder"} <= set(found)
    alone = {row["method"]: row for row in detected["decisions"]}
    assert found["×2, bicubic"]["auc"] == pytest.approx(alone["×2, bicubic"]["auc"])
