"""Resampled images: against SciPy and scikit-image, in bands, and of known pictures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from analysis.tiles import _resampling, resample, resample_bands, resampled_shape

factors = st.floats(0.1, 4) | st.sampled_from([0.5, 1.0, 2.0, 1 / 3])


@st.composite
def pictures(draw):
    shape = draw(st.tuples(*[st.integers(1, 60)] * 2))
    return np.random.default_rng(draw(st.integers(0, 99))).random(shape) * 1000 - 300


@given(pictures(), st.tuples(factors, factors), st.booleans())
@settings(deadline=None, max_examples=200)
def test_cubic_is_that_of_scikit_image(picture, factor, smooth):
    ours = resample(picture, factor, anti_aliasing=smooth)
    wanted = resize(
        picture, resampled_shape(picture.shape, factor), order=3, mode="reflect", anti_aliasing=smooth,
        preserve_range=True,
    )  # fmt: skip
    assert ours.shape == wanted.shape and ours.dtype == np.float64
    assert np.abs(ours - wanted).max() <= 1e-6 * max(np.ptp(picture), 1e-9) + 1e-9


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("factor", [2, 0.5, 0.3, (1.7, 0.6), 1])
def test_splines_are_those_of_scipy(order, factor):
    picture = np.random.default_rng(4).random((71, 93))
    shape = resampled_shape(picture.shape, factor)
    zooms = [after / before for after, before in zip(shape, picture.shape, strict=True)]
    wanted = ndimage.zoom(picture, zooms, order=order, mode="mirror", grid_mode=True)
    ours = resample(picture, factor, anti_aliasing=False, order=order)
    assert ours == pytest.approx(np.clip(wanted, picture.min(), picture.max()), abs=1e-9)


@given(pictures(), st.tuples(factors, factors), st.sampled_from([0, 1, 3]), st.booleans(), st.integers(1, 8000))
@settings(deadline=None, max_examples=100)
def test_bands_are_the_whole_image(picture, factor, order, smooth, values):
    whole = resample(picture, factor, anti_aliasing=smooth, order=order)
    before, _resampling._BAND = _resampling._BAND, values
    try:
        bands = list(resample_bands(picture, factor, anti_aliasing=smooth, order=order))
    finally:
        _resampling._BAND = before
    assert np.abs(np.concatenate(bands) - whole).max() <= 1e-9 * max(np.ptp(picture), 1)


def test_bands_overlap_as_far_as_they_are_smoothed():
    picture = np.random.default_rng(0).random((900, 12))
    before, _resampling._BAND = _resampling._BAND, 1
    try:
        bands = list(resample_bands(picture, (0.05, 1)))
    finally:
        _resampling._BAND = before
    assert len(bands) > 2
    assert np.concatenate(bands) == pytest.approx(resample(picture, (0.05, 1)), abs=1e-9)


def test_bands_are_low_and_read_only_their_rows():
    class Reader:
        """An image on a disk, whose windows are counted."""

        shape, largest = (40_000, 600), 0

        def __getitem__(self, rows):
            rows = range(self.shape[0])[rows]
            self.largest = max(self.largest, len(rows))
            return np.broadcast_to((np.array(rows, np.uint16) % 1000)[:, None], (len(rows), 600))

    reader, rows = Reader(), 0
    for band in resample_bands(reader, 0.5, limits=(0, 999)):
        rows += len(band)
        assert band.nbytes <= 2**24
    assert rows == 20_000 and reader.largest < 8000


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"])
def test_types(dtype):
    rng = np.random.default_rng(1)
    picture = (rng.random((40, 50)) * 200).astype(dtype)
    wanted = "float64" if dtype in ("uint32", "float64") else "float32"
    for factor in (0.7, 1, 1.4):
        for order in (1, 3):
            found = resample(picture, factor, order=order)
            assert found.dtype == wanted
            assert found.min() >= picture.min() and found.max() <= picture.max()
        nearest = resample(picture, factor, order=0)
        assert nearest.dtype == dtype and np.isin(nearest, picture).all()


def test_an_unchanged_size_keeps_the_pixels():
    picture = np.random.default_rng(1).integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    assert np.array_equal(resample(picture, 1), picture)
    assert np.array_equal(resample(picture, 1.001), picture)


def test_channels_are_resampled_one_by_one():
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    found = resample(picture, (0.5, 1.5))
    assert found.shape == (20, 75, 3)
    for channel in range(3):
        own = resample(picture[..., channel].copy(), (0.5, 1.5))
        inside = (own > own.min()) & (own < own.max())  # each is clipped to the values of what was given
        assert found[..., channel][inside] == pytest.approx(own[inside], abs=1e-3)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("factor", [0.4, 0.53, 1.7])
def test_a_spot_stays_in_its_place(factor, smooth):
    """A blob of known centre and width is found where the new pixels have it, to a hundredth of a pixel."""
    y, x = np.mgrid[:120, :150]
    picture = np.exp(-((y - 50.3) ** 2 + (x - 90.8) ** 2) / (2 * 9.0**2)).astype(np.float32)
    found = resample(picture, factor, anti_aliasing=smooth).astype(float)
    ratio = np.array(found.shape) / picture.shape
    centre = np.array(ndimage.center_of_mass(found))
    assert centre == pytest.approx((np.array([50.3, 90.8]) + 0.5) * ratio - 0.5, abs=0.02)


def test_smoothing_keeps_fine_stripes_from_becoming_coarse_ones():
    stripes = np.tile(np.sin(np.arange(400) * 2 * np.pi / 2.2), (40, 1))
    assert np.std(resample(stripes, 0.4, anti_aliasing=False)) > 0.5
    assert np.std(resample(stripes, 0.4)) < 0.1
    enlarged = resample(stripes, 2.0, anti_aliasing=False)
    assert np.array_equal(resample(stripes, 2.0), enlarged)


def test_shapes():
    assert resampled_shape((5, 5), 0.5) == (2, 2)  # 2.5: to the even number
    assert resampled_shape((7, 1301, 3), (0.5, 2)) == (4, 2602)
    assert resampled_shape((300, 500), 0.65 / 0.325) == (600, 1000)
    assert resampled_shape((10, 10), 0.001) == (1, 1)


def test_refused():
    picture = np.zeros((9, 8), np.float32)
    for factor in (0, -1, np.nan, np.inf, (1, 2, 3)):
        with pytest.raises(ValueError, match="factor must be a number above 0, or two"):
            resample(picture, factor)
    with pytest.raises(ValueError, match=r"order must be 0 .* got 2"):
        resample(picture, 2, order=2)
    with pytest.raises(ValueError, match=r"image must be .rows, columns. or .*got \(9,\)"):
        resample(picture[:, 0], 2)
    with pytest.raises(ValueError, match="image must be"):
        resample(picture[:0], 2)
    spoiled = picture.copy()
    spoiled[3, 3] = np.nan
    with pytest.raises(ValueError, match=r"image must be finite .* 1 pixels that are NaN or infinite"):
        resample(spoiled, 2)
    assert np.isnan(resample(spoiled, 2, order=0)).sum() == 4
