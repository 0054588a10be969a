import numpy as np
import pandas as pd
import pytest

from medsr_lib import show

pytestmark = pytest.mark.usefixtures("readable_on_a_phone")

ABOUT = {"title": "ESPCN ×4", "note": "60 images of 12 patients"}


@pytest.fixture
def training():
    return pd.DataFrame({"step": range(10, 1010, 10), "loss": np.geomspace(0.1, 0.001, 100)})


@pytest.fixture
def validation():
    return pd.DataFrame({"step": [200, 600, 1000], "psnr": [32.0, 34.25, 34.0]})


def labels(axes):
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_curves_mark_the_best_step(training, validation, text_of):
    text = text_of(show.curves(training, validation, **ABOUT))
    assert "best 34.25 dB at step 600" in text
    assert "60 images of 12 patients; 1 000 steps; pale: every value" in text


def test_curves_take_the_lowest_loss_as_the_best(training, text_of):
    validation = pd.DataFrame({"step": [1, 2, 3], "loss": [0.3, 0.1, 0.2]}, index=[7, 7, 7])
    assert "best 0.1 at step 2" in text_of(show.curves(training, validation, **ABOUT))


def test_curves_have_a_panel_for_each_measure(training, validation):
    more = validation.assign(ssim=0.9, mse=0.001, other=1)
    panels = show.curves(training, more, **ABOUT).axes
    units = ["loss", "validation PSNR, dB", "validation SSIM", "validation MSE"]
    assert [axes.get_ylabel() for axes in panels] == units


def test_curves_draw_every_loss_on_a_log_axis(training):
    training = training.rename(columns={"loss": "generator_loss"}).assign(discriminator_loss=0.6)
    figure = show.curves(training, **ABOUT)
    assert labels(figure.axes[0]) == ["generator loss", "discriminator loss"]
    assert figure.axes[0].get_yscale() == "log"


def test_curves_refuse_tables_without_a_loss_or_a_metric(training, validation):
    with pytest.raises(ValueError, match=r"no column with 'loss' .* \['step'\]"):
        show.curves(training[["step"]], **ABOUT)
    with pytest.raises(ValueError, match=r"one of the columns .*; there is \['step'\]"):
        show.curves(training, validation[["step"]], **ABOUT)


@pytest.fixture
def duel():
    """Steps of a generator against a discriminator."""
    falling = np.geomspace(0.1, 0.001, 100)
    table = pd.DataFrame({"step": range(10, 1010, 10), "pixel_loss": falling})
    table = table.assign(adversarial_loss=0.003, discriminator_loss=0.6, generator_loss=falling)
    return table.assign(d_real=np.linspace(0.9, 0.6, 100), d_fake=0.4)


def test_adversarial_names_the_losses_and_answers_that_are_there(duel, text_of):
    figure = show.adversarial_curves(duel, title="SRGAN", note="seed 0")
    losses, answers = figure.axes
    assert labels(losses) == ["pixel loss", "adversarial loss", "discriminator loss"]
    assert losses.get_yscale() == "log"
    assert labels(answers) == ["0.5: cannot tell", "real crops", "generated crops"]
    assert answers.get_ylim() == (0, 1)
    assert "seed 0; 1 000 steps; pale: every value" in text_of(figure)


def test_adversarial_draws_validation_beside_its_baselines(duel, validation, text_of):
    validation = validation.assign(ssim=0.9, perceptual=[0.9, 0.6, 0.5])
    baseline = {"bicubic": {"psnr": 33.2, "perceptual": 1.0}, "SRResNet": {"psnr": 34.5}}
    figure = show.adversarial_curves(duel, validation, baseline=baseline, **ABOUT)
    psnr, ssim, perceptual = figure.axes[2:]
    assert labels(psnr) == ["bicubic 33.20 dB", "SRResNet 34.50 dB"]
    assert labels(perceptual) == ["bicubic 1.000"]
    assert "best 0.500 at step 1 000" in text_of(figure)
    assert "SSIM   better →" in ssim.get_ylabel()
    assert "← better" in perceptual.get_ylabel()


@pytest.mark.parametrize(("more", "panels"), [({}, 3), ({"ssim": 0.9}, 4)])
def test_adversarial_has_a_panel_for_what_was_measured(duel, validation, more, panels):
    figure = show.adversarial_curves(duel, validation.assign(**more), **ABOUT)
    assert len(figure.axes) == panels


def test_long_tables_are_thinned(duel, text_of):
    long = pd.concat([duel] * 500, ignore_index=True).assign(step=range(50_000))
    figure = show.adversarial_curves(long, **ABOUT)
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) == 2000
    assert "pale: means of 25 rows" in text_of(figure)


@pytest.mark.parametrize("nothing", [np.nan, 0.0])
def test_adversarial_leaves_parts_out_that_have_no_weight(duel, nothing):
    axes = show.adversarial_curves(duel.assign(content_loss=nothing), **ABOUT).axes[0]
    assert "content loss" not in labels(axes)
    assert axes.get_yscale() == "log"


def test_adversarial_refuses_what_it_cannot_draw(duel, validation):
    with pytest.raises(ValueError, match=r"lacks the columns \['d_real'\]"):
        show.adversarial_curves(duel.drop(columns="d_real"), **ABOUT)
    with pytest.raises(ValueError, match=r"d_fake must be a probability; got -3 to -3: take the"):
        show.adversarial_curves(duel.assign(d_fake=-3.0), **ABOUT)
    with pytest.raises(ValueError, match=r"unknown metric in baseline \['PSNR'\]"):
        show.adversarial_curves(duel, validation, baseline={"bicubic": {"PSNR": 33.2}}, **ABOUT)


def test_a_training_without_a_step_is_drawn_as_that():
    empty = pd.DataFrame(columns=["step", "loss"], dtype=float)
    gan = pd.DataFrame(columns=["step", "discriminator_loss", "d_real", "d_fake"], dtype=float)
    for figure in (show.curves(empty, empty, **ABOUT), show.adversarial_curves(gan, **ABOUT)):
        assert "no step" in figure.axes[0].texts[0].get_text()


def test_a_validation_without_rows_is_left_out(training, duel):
    empty = pd.DataFrame(columns=["step", "psnr"], dtype=float)
    assert len(show.curves(training, empty, **ABOUT).axes) == 1
    baseline = {"bicubic": {"psnr": 33.2}}
    assert len(show.adversarial_curves(duel, empty, baseline=baseline, **ABOUT).axes) == 2
