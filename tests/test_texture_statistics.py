"""Statistics of patches against the original notebook's tables, plain formulas, and what must not change them."""

import numpy as np
import pandas as pd
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.texture import PRESETS, STATISTICS, choose_statistics, make_grid
from analysis.texture._filters import HALO_PX, filter_patterns
from analysis.texture._statistics import measure_band

ORIGINAL = [name for name, told in STATISTICS.items() if told.group in ("moments", "extremes", "percentiles")] + [
    "mode",
    "mode_cnt",
]
EXACT = {
    "mean", "min", "max", "range", "mode", "mode_cnt", "median", "quartile1", "quartile2", "quartile3", "quintile1",
    "quintile2", "quintile3", "quintile4", "blacktail", "whitetail", "interquartilerange", "interquartilerange_low",
    "interquartilerange_high",
}  # fmt: skip


def measure(pixels, names, rows=1, columns=1, **options):
    grid = make_grid(pixels.shape, rows=rows, columns=columns)
    return measure_band(pixels, grid.starts_y, grid.starts_x, grid.patch_size, names, **options)


def test_there_are_the_28_of_the_original():
    assert len(ORIGINAL) == 28
    assert PRESETS["common"] == ("std", "relstd", "mean", "skewness", "kurtosis", "mode")
    assert all(name in STATISTICS for names in PRESETS.values() for name in names)


@pytest.mark.reference
@pytest.mark.parametrize("count", [4, 8, 10])
def test_equal_to_the_original(reference, count):
    table = pd.read_csv(reference / "texture" / f"stats_{count}x{count}.csv")
    for name, rows in table.groupby("filename", sort=False):
        pixels = tifffile.imread(reference / "texture" / name)
        found = measure(pixels, ORIGINAL, count, count, mode="compatible")
        for statistic in ORIGINAL:
            wanted = rows[f"img_{statistic}"].to_numpy(float)
            if statistic in EXACT:
                assert np.array_equal(found[statistic], wanted), statistic
            else:
                np.testing.assert_allclose(found[statistic], wanted, rtol=1e-9, atol=1e-9, err_msg=statistic)


def plain(patch, name):
    """Formulas as a reader of the documentation would type them."""
    x = patch.astype(float).ravel()
    counts, edges = np.histogram(x, 1024)
    at = counts.argmax()
    return {
        "mean": x.mean, "std": x.std, "var": x.var, "skewness": lambda: stats.skew(x), "mode_cnt": counts.max,
        "kurtosis": lambda: stats.kurtosis(x), "mode": lambda: (edges[at] + edges[at + 1]) / 2,
        "quartile1": lambda: np.percentile(x, 25), "whitetail": lambda: np.percentile(x, 97.5),
        "entropy": lambda: stats.entropy(np.histogram(x, 64)[0], base=2), "range": lambda: np.ptp(x),
    }[name]()  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_every_number_type(dtype):
    rng = np.random.default_rng(0)
    drawn = rng.normal(100, 40, (30, 44)) - (150 if np.dtype(dtype).kind in "if" else 0)
    pixels = np.clip(drawn, 0 if np.dtype(dtype).kind == "u" else -500, 255).astype(dtype)
    names = ["mean", "std", "var", "skewness", "kurtosis", "quartile1", "whitetail", "range", "mode_cnt", "mode"]
    found = measure(pixels, names, 3, 4)
    for number in range(12):
        row, column = divmod(number, 4)
        patch = pixels[row * 10 : row * 10 + 10, column * 11 : column * 11 + 11]
        for name in names:
            assert found[name][number] == pytest.approx(plain(patch, name), rel=1e-9, abs=1e-9), name


def test_entropy_of_many_values():
    pixels = np.random.default_rng(1).integers(0, 65536, (64, 64), np.uint16)
    assert measure(pixels, ["entropy"])["entropy"][0] == pytest.approx(plain(pixels, "entropy"), abs=1e-9)


def test_large_numbers_do_not_overflow():
    for dtype in ("uint8", "uint16"):
        top = np.iinfo(dtype).max
        pixels = np.full((200, 300), top, dtype)
        pixels[0, 0] = 0
        found = measure(pixels, ["mean", "var", "range"])
        assert found["mean"][0] == pytest.approx(top * (1 - 1 / 60000))
        assert found["range"][0] == top
        assert found["var"][0] == pytest.approx(pixels.astype(float).var())


@pytest.mark.parametrize("value", [0, 7, 65535])
def test_a_patch_of_one_value(value):
    found = {name: float(each[0]) for name, each in measure(np.full((8, 9), value, np.uint16), STATISTICS).items()}
    assert found["mean"] == found["mode"] == found["median"] == value
    assert found["mode_cnt"] == 72
    for name in ("std", "relstd", "skewness", "kurtosis", "entropy", "range", "gradient_mean", "gradient_std"):
        assert found[name] == 0, name
    assert found["dog_4"] == pytest.approx(0, abs=0.05)
    assert found["lbp_8"] == 1
    assert all(np.isfinite(each) for each in found.values())


def test_the_mode_is_where_most_pixels_are():
    pixels = np.full((10, 10), 1000, np.uint16)
    pixels[0] = np.arange(2000, 3000, 100)
    assert measure(pixels, ["mode"])["mode"][0] == pytest.approx(1000, abs=2)
    # half the lower edge: the original's
    assert measure(pixels, ["mode"], mode="compatible")["mode"][0] == 500


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_spoils_its_patch_only(bad):
    pixels = np.random.default_rng(0).normal(size=(20, 40)).astype(np.float32)
    clean = measure(pixels, STATISTICS, 1, 2)
    pixels[3, 3] = bad
    found = measure(pixels, STATISTICS, 1, 2)
    for name in STATISTICS:
        assert np.isnan(found[name][0])
        assert np.isfinite(found[name][1])
    assert found["mean"][1] == clean["mean"][1]


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 50), st.floats(-1000, 1000), st.integers(0, 2**31))
def test_gain_and_offset(gain, offset, seed):
    pixels = np.random.default_rng(seed).normal(100, 20, (12, 18))
    names = ["mean", "std", "skewness", "kurtosis", "median", "gradient_mean", "lbp_2", "interquartilerange"]
    before, after = measure(pixels, names), measure(gain * pixels + offset, names)
    for name in ("std", "gradient_mean", "interquartilerange"):
        assert after[name][0] == pytest.approx(gain * before[name][0], rel=1e-4)
    for name in ("mean", "median"):
        assert after[name][0] == pytest.approx(gain * before[name][0] + offset, rel=1e-9, abs=1e-6)
    for name in ("skewness", "kurtosis"):
        assert after[name][0] == pytest.approx(before[name][0], abs=1e-6)


def test_turned_patches_have_the_same_texture():
    pixels = np.random.default_rng(3).normal(size=(24, 40))
    names = ["gradient_mean", "gradient_std", *(f"lbp_{n}" for n in range(10)), "dog_1", "entropy"]
    before, after = measure(pixels, names), measure(np.rot90(pixels).copy(), names)
    for name in names:
        assert after[name][0] == pytest.approx(before[name][0], rel=1e-4, abs=1e-6), name


def test_patterns_are_counted_right():
    pixels = np.zeros((7, 7))
    pixels[3, 3] = 1
    out = np.empty((7, 7), np.uint8)
    filter_patterns(pixels, out)
    assert out[3, 3] == 0  # a bright spot: no neighbour is as bright
    assert out[1, 1] == 8
    pixels = np.indices((7, 7))[0].astype(float)
    filter_patterns(pixels, out)
    assert (out[2:5, 2:5] == 5).all()  # a slope: three above it and two beside it


def test_grains_are_found_at_their_size():
    rng = np.random.default_rng(0)
    from scipy.ndimage import gaussian_filter

    noise = rng.normal(size=(128, 160))
    fine, coarse = (gaussian_filter(noise, s) / gaussian_filter(noise, s).std() for s in (0.7, 5))
    a, b = (measure(each, ["dog_1", "dog_4"]) for each in (fine, coarse))
    assert a["dog_1"] > 4 * b["dog_1"]
    assert b["dog_4"] > 2 * a["dog_4"]


def test_pixels_around_a_band_make_it_equal_to_the_whole():
    pixels = np.random.default_rng(5).integers(0, 4000, (160, 90), np.uint16)
    whole = measure(pixels, STATISTICS, 4, 3)
    names = list(STATISTICS)
    grid = make_grid(pixels.shape, rows=4, columns=3)
    band = pixels[80:120]
    above = min(80, HALO_PX)
    part = measure_band(
        band, np.array([0]), grid.starts_x, grid.patch_size, names, around=pixels[80 - above : 120 + HALO_PX],
        above_px=above,
    )  # fmt: skip
    for name in names:
        assert np.array_equal(part[name], whole[name][6:9]), name


def test_names_are_checked():
    assert choose_statistics("mean") == ("mean",)
    with pytest.raises(ValueError, match="got sharpness"):
        choose_statistics(["mean", "sharpness"])
    with pytest.raises(ValueError, match="at least one"):
        choose_statistics([])
