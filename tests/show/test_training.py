import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from medsr_lib.show import training as charts


@pytest.fixture
def training():
    return pd.DataFrame({"step": range(10, 1010, 10), "loss": np.geomspace(0.1, 0.001, 100)})


@pytest.fixture
def validation():
    return pd.DataFrame({"step": [200, 600, 1000], "psnr": [32.0, 34.25, 34.0]})


@pytest.mark.parametrize("draw", [charts.counts, charts.sizes, charts.intensity])
def test_charts_of_the_data_tell_slices_and_patients(draw, index, text_of):
    figure = draw(index)
    assert isinstance(figure, Figure)
    assert "12 slices of 6 patients" in text_of(figure)
    assert plt.get_fignums() == []


def test_counts_are_those_of_each_fold_and_type(index, text_of):
    figure = charts.counts(index)
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == [1, 1, 1, 1, 1, 1]
    assert "glioma: 4 slices of 2 patients" in text_of(figure)


def test_slices_without_a_fold_are_counted_too(index):
    folds = index["fold"].astype("Int64").where(index["slice_id"] > 3)
    axes = charts.counts(index.assign(fold=folds)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["1", "2", "none"]
    assert sum(bar.get_width() for bar in axes.patches) == 12


def test_sizes_are_shares_of_the_slice(index, text_of):
    text = text_of(charts.sizes(index))
    assert "tumour area, % of the slice" in text
    assert f"{100 * 145 / 4096:.2g} %" in text  # the median of the gliomas


def test_intensity_tells_the_factor(index, text_of):
    assert "from 250 to 3 000, a factor of 12" in text_of(charts.intensity(index))


def test_a_missing_column_is_named(index):
    with pytest.raises(ValueError, match=r"lacks the columns \['fold'\]; it has \['slice_id'"):
        charts.counts(index.drop(columns="fold"))
    with pytest.raises(ValueError, match="no rows"):
        charts.sizes(index[:0])
    with pytest.raises(ValueError, match="no value is above 0"):
        charts.intensity(index.assign(raw_max=0))


def test_curves_mark_the_best_step(training, validation, text_of):
    text = text_of(charts.curves(training, validation, note="60 slices of 12 patients"))
    assert "best 34.25 dB at step 600" in text
    assert "60 slices of 12 patients; 1 000 steps" in text


def test_curves_take_the_lowest_loss_as_the_best(training, text_of):
    validation = pd.DataFrame({"step": [1, 2, 3], "loss": [0.3, 0.1, 0.2]}, index=[7, 7, 7])
    assert "best 0.1 at step 2" in text_of(charts.curves(training, validation))


def test_curves_label_baselines_apart(training, validation, text_of):
    figure = charts.curves(training, validation, baseline={"bicubic": 33.22, "lanczos": 33.23})
    labels = [text for text in figure.axes[1].texts if "33.2" in text.get_text()]
    assert [text.get_text() for text in labels] == ["bicubic 33.22 dB", "lanczos 33.23 dB"]
    assert labels[1].xy[1] - labels[0].xy[1] > 0.1


def test_curves_draw_every_loss_on_a_log_axis(training):
    training = training.rename(columns={"loss": "generator_loss"}).assign(discriminator_loss=0.6)
    figure = charts.curves(training)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["generator loss", "discriminator loss"]
    assert figure.axes[0].get_yscale() == "log"


def test_curves_refuse_tables_without_a_loss_or_a_metric(training, validation):
    with pytest.raises(ValueError, match=r"no column with 'loss' .* \['step'\]"):
        charts.curves(training[["step"]])
    with pytest.raises(ValueError, match=r"one of the columns .*; there is \['step'\]"):
        charts.curves(training, validation[["step"]])
    with pytest.raises(ValueError, match="baseline needs a validation"):
        charts.curves(training, baseline={"bicubic": 33.2})


@pytest.fixture
def duel():
    """Steps of a generator against a discriminator."""
    falling = np.geomspace(0.1, 0.001, 100)
    table = pd.DataFrame({"step": range(10, 1010, 10), "pixel_loss": falling})
    table = table.assign(adversarial_loss=0.003, discriminator_loss=0.6, generator_loss=falling)
    return table.assign(d_real=np.linspace(0.9, 0.6, 100), d_fake=0.4)


def test_adversarial_names_the_losses_that_are_there(duel, text_of):
    figure = charts.adversarial(duel, note="seed 0")
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names == ["pixel", "adversarial", "discriminator"]
    assert figure.axes[0].get_yscale() == "log"
    assert "seed 0; 1 000 steps; pale: every value" in text_of(figure)


def test_adversarial_draws_the_answers_between_0_and_1(duel):
    axes = charts.adversarial(duel).axes[1]
    names = [text.get_text() for text in axes.texts]
    assert names == ["0.5: cannot tell", "real crops", "generated crops"]
    assert axes.get_ylim() == (0, 1)
    heights = sorted(text.xy[1] for text in axes.texts)
    assert np.diff(heights).min() > 0.08


def test_adversarial_draws_validation_beside_its_baselines(duel, validation, text_of):
    validation = validation.assign(ssim=0.9, perceptual=[0.9, 0.6, 0.5])
    baseline = {"bicubic": {"psnr": 33.2, "perceptual": 1.0}, "SRResNet": {"psnr": 34.5}}
    figure = charts.adversarial(duel, validation, baseline=baseline)
    text = text_of(figure)
    assert len(figure.axes) == 4
    for part in ("best 0.500 at step 1 000", "bicubic 1.000", "SRResNet 34.50 dB", "← better"):
        assert part in text


@pytest.mark.parametrize(("more", "panels"), [({}, 3), ({"ssim": 0.9}, 4)])
def test_adversarial_has_a_panel_for_what_was_measured(duel, validation, more, panels):
    assert len(charts.adversarial(duel, validation.assign(**more)).axes) == panels


def test_adversarial_thins_long_tables(duel, text_of):
    long = pd.concat([duel] * 500, ignore_index=True).assign(step=range(50_000))
    figure = charts.adversarial(long)
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) == 2000
    assert "pale: means of 25 rows" in text_of(figure)


@pytest.mark.parametrize("nothing", [np.nan, 0.0])
def test_adversarial_leaves_parts_out_that_have_no_weight(duel, nothing):
    axes = charts.adversarial(duel.assign(content_loss=nothing)).axes[0]
    assert "content" not in [text.get_text() for text in axes.texts]
    assert axes.get_yscale() == "log"


def test_adversarial_refuses_what_it_cannot_draw(duel, validation):
    with pytest.raises(ValueError, match=r"lacks the columns \['d_real'\]"):
        charts.adversarial(duel.drop(columns="d_real"))
    with pytest.raises(ValueError, match=r"d_fake must be a probability; got -3 to -3: take the"):
        charts.adversarial(duel.assign(d_fake=-3.0))
    with pytest.raises(ValueError, match="baseline needs a validation"):
        charts.adversarial(duel, baseline={"bicubic": {"psnr": 33.2}})
    with pytest.raises(ValueError, match=r"unknown metric in baseline \['PSNR'\]"):
        charts.adversarial(duel, validation, baseline={"bicubic": {"PSNR": 33.2}})


def test_speed_draws_medians_from_the_fastest(text_of):
    times = [("ESPCN", 9.0), ("ESPCN", 10.0), ("ESPCN", 80.0), *[("bicubic", 1.3)] * 3]
    figure = charts.speed(pd.DataFrame(times, columns=["method", "milliseconds"]), note="2 cores")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1.3, 10.0]
    assert "2 cores; median of 3 runs per method" in text_of(figure)
    assert "10 ms" in text_of(figure)


def test_a_training_without_a_step_is_drawn_as_that():
    empty = pd.DataFrame(columns=["step", "loss"], dtype=float)
    gan = pd.DataFrame(columns=["step", "discriminator_loss", "d_real", "d_fake"], dtype=float)
    for figure in (charts.curves(empty, empty), charts.adversarial(gan, title="SRGAN")):
        assert "no step" in figure.axes[0].texts[0].get_text()


def test_a_validation_without_rows_is_left_out():
    training = pd.DataFrame({"step": [1, 2], "loss": [0.2, 0.1]})
    figure = charts.curves(training, pd.DataFrame(columns=["step", "psnr"], dtype=float))
    assert len(figure.axes) == 1
