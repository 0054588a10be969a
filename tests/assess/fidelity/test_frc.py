import numpy as np
import pytest
import torch
from scipy import ndimage

from medsr_lib.assess.fidelity.frc import KINDS, ring_correlation

SIZE = 192
TILE = slice(96, 144)  # the third of four tiles of 48 pixels


def field(seed, power):
    """Random texture whose amplitude falls with frequency to this power, deviation 1."""
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    k[0, 0] = np.inf
    white = np.fft.fft2(np.random.default_rng(seed).normal(size=(SIZE, SIZE)))
    drawn = np.fft.ifft2(white / k**power).real
    return drawn / drawn.std()


def as_image(values):
    return torch.from_numpy(np.clip(values, 0, 1))[None, None].float()


@pytest.fixture
def tissue():
    """Texture like anatomy's, within [0, 1]."""
    return 0.5 + 0.08 * field(0, 1.0)


def kinds(found):
    return np.array(KINDS)[found.kind[0]]


def test_identical_images_agree_everywhere(tissue):
    found = ring_correlation(as_image(tissue), as_image(tissue), max_frequency=1.0)
    assert set(kinds(found).ravel()) == {"agrees"}
    np.testing.assert_allclose(found.curve, 1, atol=1e-12)
    assert np.isinf(found.crossing).all()


def test_what_is_done_to_intensities_alone_is_not_flagged(tissue):
    found = ring_correlation(as_image(0.2 + 0.5 * tissue), as_image(tissue), max_frequency=1.0)
    assert set(kinds(found).ravel()) == {"agrees"}


def test_strong_blur_is_loss(tissue):
    blurred = ndimage.gaussian_filter(tissue, 3, mode="wrap")
    found = ring_correlation(as_image(blurred), as_image(tissue), max_frequency=0.75)
    assert set(kinds(found).ravel()) == {"loss"}
    assert found.energy.max() < 0.1


def test_frequencies_cut_off_are_loss_from_there_on(tissue):
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    cut = np.fft.ifft2(np.fft.fft2(tissue) * (k < 0.125)).real  # a quarter of Nyquist
    found = ring_correlation(as_image(cut), as_image(tissue), max_frequency=0.4)
    assert set(kinds(found).ravel()) == {"loss"}
    assert np.abs(found.crossing - 0.25).max() < 0.06  # the window blurs by a ring or so


def test_texture_is_invention_in_the_patch_where_it_was_painted(tissue):
    painted = ndimage.gaussian_filter(tissue, 1, mode="wrap")
    hr = painted.copy()
    painted[TILE, TILE] += 0.1 * (ndimage.gaussian_filter(field(7, 0), 1) * 3)[TILE, TILE]
    found = ring_correlation(as_image(painted), as_image(hr), max_frequency=0.75)
    assert kinds(found)[4, 4] == "invention"  # a patch of 48 pixels begins at every 24th
    found.kind[0, 3:6, 3:6] = 0  # those that hold a part of it
    assert not found.kind.any()


def test_other_texture_of_the_same_strength_is_invention(tissue):
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    spectrum, phase = np.fft.fft2(tissue), np.angle(np.fft.fft2(field(1, 1.0)))
    other = np.abs(spectrum) * np.exp(1j * phase)
    mixed = np.fft.ifft2(np.where(k < 0.125, spectrum, other)).real
    found = ring_correlation(as_image(mixed), as_image(tissue), max_frequency=0.4)
    assert set(kinds(found).ravel()) == {"invention"}
    assert np.median(found.energy) == pytest.approx(1, abs=0.2)


def test_what_parts_above_the_stated_frequency_is_not_flagged(tissue):
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE), np.fft.fftfreq(SIZE)))
    cut = np.fft.ifft2(np.fft.fft2(tissue) * (k < 0.25)).real
    found = ring_correlation(as_image(cut), as_image(tissue), max_frequency=0.25)
    assert set(kinds(found).ravel()) == {"agrees"}
    assert np.isfinite(found.crossing).all()


def test_correlation_by_another_way(tissue):
    sr, hr = tissue[:48, :48], ndimage.gaussian_filter(tissue, 1)[:48, :48]
    sr = sr + 0.05 * field(3, 0)[:48, :48]
    found = ring_correlation(as_image(sr), as_image(hr), max_frequency=1.0)
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(48) / 48)] * 2)
    S, H = (
        np.fft.fftshift(np.fft.fft2(window * (i - np.average(i, weights=window))))
        for i in (as_image(v)[0, 0].double().numpy() for v in (sr, hr))
    )
    rows, columns = np.mgrid[-24:24, -24:24]
    for k in range(1, 25):
        ring = np.round(np.hypot(rows, columns)) == k
        cross = (S * H.conj())[ring].sum().real
        power = np.sqrt((abs(S) ** 2)[ring].sum() * (abs(H) ** 2)[ring].sum())
        assert found.curve[0, 0, 0, k - 1] == pytest.approx(cross / power, abs=1e-9)


def test_the_map_gives_pixels_the_kind_of_the_nearest_patch_inside_the_mask(tissue):
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[:70, :100] = True
    found = ring_correlation(as_image(tissue), as_image(tissue), max_frequency=1.0, mask=mask)
    assert np.argwhere(found.kind[0] == 0).tolist() == [[r, c] for r in (0, 1) for c in range(4)]
    assert found.map.shape == (1, SIZE, SIZE)
    # patches begin at every 24th pixel, so that the last ones inside have centres near 48 and 96
    np.testing.assert_array_equal((found.map[0] == 0).nonzero().amax(0), [59, 107])
    assert set(found.map[0, 60:].ravel().tolist()) == {-1}


def test_the_last_patches_reach_the_last_pixels():
    hr = torch.rand(1, 1, 70, 101, generator=torch.Generator().manual_seed(0))
    found = ring_correlation(hr, hr, max_frequency=0.5)
    assert found.kind.shape == (1, 2, 4)  # from rows 0 and 22, columns 0, 24, 48 and 53
    assert found.map.shape == (1, 70, 101)


def test_flat_patches_agree_and_noise_on_them_is_invention():
    flat = np.full((48, 48), 0.5)
    noisy = as_image(flat + 0.02 * np.random.default_rng(0).normal(size=(48, 48)))
    flat = as_image(flat)
    assert kinds(ring_correlation(flat, flat, max_frequency=0.5)) == "agrees"
    assert kinds(ring_correlation(noisy, flat, max_frequency=0.5)) == "invention"
    assert kinds(ring_correlation(flat, noisy, max_frequency=0.5)) == "loss"


def test_bad_arguments(tissue):
    image = as_image(tissue)
    with pytest.raises(ValueError, match=r"max_frequency must be in \(0, 1\], got 0"):
        ring_correlation(image, image, max_frequency=0)
    with pytest.raises(ValueError, match=r"mask is \(3, 3\)"):
        ring_correlation(image, image, max_frequency=1, mask=torch.ones(3, 3).bool())
    with pytest.raises(ValueError, match=r"at least 48 x 48 pixels, got 47 x 192"):
        ring_correlation(image[..., :47, :], image[..., :47, :], max_frequency=1)
