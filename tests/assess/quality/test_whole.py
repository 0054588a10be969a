from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from torch import nn

from medsr_lib.assess import statistics
from medsr_lib.assess.quality import metrics, score, whole


@pytest.fixture
def radiographs(random_images):
    """Six images of three patients; two have another size."""
    sizes = [(24, 30), (24, 30), (20, 26), (24, 30), (20, 26), (24, 30)]
    return [
        SimpleNamespace(
            image=random_images(1, *size, seed=i)[0, 0],
            image_id=f"image{i}",
            patient=f"patient{i % 3}",
            label="NORMAL",
        )
        for i, size in enumerate(sizes)
    ]


def darker(x):
    return 0.9 * x


METHODS = {"same": lambda y: y / 0.9, "darker": lambda y: y}


def test_a_row_per_image_and_method(radiographs):
    table = whole.measure(METHODS, radiographs, degrade=darker, progress=False)
    assert len(table) == 12
    assert list(table) == [
        *("slice_id", "patient", "tumour", "method", "region", "pixels"),
        *("psnr", "mse", "ssim", "edges"),
    ]
    assert table["pixels"].tolist()[:5] == [720] * 4 + [520]
    worse = table[table["method"] == "darker"].set_index("slice_id")
    hr = radiographs[1].image[None, None]
    assert worse.loc["image1", "psnr"] == metrics.psnr(0.9 * hr, hr, data_range=1).item()
    assert worse.loc["image1", "ssim"] == metrics.ssim(0.9 * hr, hr, data_range=1).item()
    assert worse.loc["image1", "edges"] == pytest.approx(1, abs=1e-5)


def test_statistics_and_summary_take_the_table(radiographs):
    ways = {"a": lambda y: y, "b": lambda y: y * 0.9}
    table = whole.measure(ways, radiographs, degrade=darker, progress=False)
    found = statistics.paired_difference(
        table, metric="psnr", method="a", baseline="b", region="whole", reference=None, seed=0
    )
    assert (found.patients, found.slices) == (3, 6)
    assert found.value > 1
    summary = score.summary(table, by=["method"])
    assert summary.loc["a", "psnr"] == pytest.approx(table[table["method"] == "a"]["psnr"].mean())
    assert "edges_sd" in summary


def test_images_are_cropped_to_what_the_scale_divides(radiographs):
    def shrink(x):
        return nn.functional.avg_pool2d(x[..., 1:-1], 4)

    enlarge = nn.Upsample(scale_factor=4)
    table = whole.measure({"up": enlarge}, radiographs[:1], degrade=shrink, progress=False)
    assert table["pixels"].item() == 24 * 28


def test_networks_are_put_into_evaluation_mode(radiographs):
    network = nn.Dropout(0.5).train()
    table = whole.measure({"net": network}, radiographs, degrade=darker, progress=False)
    assert np.isfinite(table["psnr"]).all()
    assert not network.training


def test_what_does_not_fit_is_refused_with_its_names(radiographs):
    with pytest.raises(ValueError, match="method 'half', image image0: the result is"):
        whole.measure({"half": lambda y: y[..., ::2]}, radiographs, degrade=darker, progress=False)
    with pytest.raises(ValueError, match=r"method 'bright', image image0: expected values in"):
        whole.measure({"bright": lambda y: y + 2}, radiographs, degrade=darker, progress=False)
    with pytest.raises(ValueError, match="no methods"):
        whole.measure({}, radiographs, degrade=darker)
    with pytest.raises(ValueError, match="no images"):
        whole.measure(METHODS, [], degrade=darker)
    radiographs[2].image = radiographs[2].image * 255
    with pytest.raises(ValueError, match="image image2: expected values in"):
        whole.measure(METHODS, radiographs, degrade=darker, progress=False)


@pytest.fixture
def table():
    """Ten patients with one to three images each, two methods at two levels."""
    rng = np.random.default_rng(0)
    rows = [
        {"patient": f"p{p}", "slice_id": f"{p}-{i}", "method": m, "level": v}
        for p in range(10)
        for i in range(1 + p % 3)
        for m in "ab"
        for v in (0.1, 0.2)
    ]
    return pd.DataFrame(rows).assign(psnr=lambda t: 30 + rng.normal(size=len(t)))


def test_means_are_over_patients_with_the_interval_of_statistics(table):
    found = whole.means(table, metrics=["psnr"], by=["method", "level"], seed=3)
    assert found[["method", "level"]].values.tolist() == [
        *(["a", 0.1], ["a", 0.2], ["b", 0.1], ["b", 0.2])
    ]
    rows = table[table["method"].eq("b") & table["level"].eq(0.2)]
    sample = rows.groupby("patient")["psnr"].mean()
    low, high = statistics.bootstrap_interval(sample.to_numpy(), seed=3)
    last = found.iloc[-1]
    assert last["value"] == pytest.approx(sample.mean())
    assert (last["low"], last["high"]) == pytest.approx((low, high))
    assert (last["patients"], last["slices"], last["skipped"]) == (10, len(rows), 0)


def test_missing_and_infinite_values_are_left_out_and_counted(table):
    table.loc[0, "psnr"], table.loc[4, "psnr"] = np.nan, np.inf
    first = whole.means(table, metrics=["psnr"], by=["method", "level"], seed=0).iloc[0]
    assert (first["skipped"], first["slices"]) == (2, 17)
    assert np.isfinite([first["value"], first["low"], first["high"]]).all()


def test_means_of_a_column_that_is_not_there_are_refused(table):
    with pytest.raises(ValueError, match="no column 'ssim'"):
        whole.means(table, metrics=["ssim"], by=["method"], seed=0)
