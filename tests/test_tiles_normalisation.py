"""Ranges of values, and pixels stretched between bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.tiles import (
    allowed_formats,
    allowed_types,
    check_choice,
    convert_pixels,
    find_range,
    judge_formats,
    judge_types,
    make_histogram,
    normalise,
)

SHORT = ("bool", "uint8", "int8", "uint16", "int16")
LONG = ("uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
quick = settings(deadline=None, max_examples=150)
percentages = st.tuples(*[st.sampled_from([0, 100, 50, 0.2, 99.8]) | st.floats(0, 100)] * 2).filter(
    lambda pair: pair[0] < pair[1]
)


def images(dtypes=SHORT + LONG, nonfinite=False, least=0):
    """Images of any type; numbers of 64 bits stay where float64 has them all."""

    def elements(dtype):
        if dtype.kind == "f":
            most = min(float(np.finfo(dtype).max) / 4, 1e300)
            most = float(np.array(most, dtype))
            return st.floats(-most, most, width=8 * dtype.itemsize) | st.sampled_from(
                [0.0, -0.0, 1.0, *([np.nan, np.inf, -np.inf] if nonfinite else [])]
            )
        if dtype.itemsize == 8:
            return st.integers(0 if dtype.kind == "u" else -(2**52), 2**52)
        return None

    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12) | st.tuples(
        st.integers(1, 5), st.integers(1, 5), st.just(3)
    )
    return st.sampled_from(dtypes).flatmap(
        lambda name: hnp.arrays(np.dtype(name), shapes, elements=elements(np.dtype(name)))
    )


@given(images(), percentages)
@quick
def test_percentiles_are_those_of_numpy(image, pair):
    found = find_range(image, percentiles=pair)
    wanted = np.percentile(image.astype(np.float64), pair)
    assert (found.low, found.high) == tuple(wanted)
    assert (found.pixels, found.left_out, found.percentiles) == (image.size, 0, pair)
    assert find_range(image).low == image.min() and find_range(image).high == image.max()


@given(st.sampled_from(SHORT + LONG), percentages, st.data())
@quick
def test_percentiles_over_several_images(name, pair, data):
    several = data.draw(st.lists(images((name,)), min_size=1, max_size=4))
    together = np.concatenate([image.ravel().astype(np.float64) for image in several])
    found = find_range(several, percentiles=pair)
    wanted = np.percentile(together, pair)
    assert (found.low, found.high) == tuple(wanted)
    ends = find_range(iter(several))
    assert (ends.low, ends.high, ends.pixels) == (together.min(), together.max(), together.size)


def test_percentiles_of_a_large_image_in_blocks():
    rng = np.random.default_rng(0)
    for dtype in ("uint16", "float32", "int32", "float64"):
        image = (rng.standard_normal((1500, 1100)) * 3000 + 20000).astype(dtype)
        found = find_range(image, percentiles=(1, 99.8))
        assert (found.low, found.high) == pytest.approx(np.percentile(image.astype(float), (1, 99.8)), rel=1e-14)


@given(images(nonfinite=True, dtypes=("float16", "float32", "float64")), percentages)
@quick
def test_what_is_not_finite_does_not_count(image, pair):
    finite = image[np.isfinite(image)].astype(np.float64)
    if not finite.size:
        for percentiles in (pair, (0, 100)):
            with pytest.raises(ValueError, match=f"images must have a finite pixel; got {image.size} without one"):
                find_range(image, percentiles=percentiles)
        return
    for percentiles in (pair, (0, 100)):
        found = find_range(image, percentiles=percentiles)
        wanted = np.percentile(finite, percentiles)
        assert (found.low, found.high) == tuple(wanted)
        assert (found.pixels, found.left_out) == (image.size, image.size - finite.size)


@given(st.lists(images(("uint8", "int8", "uint16", "int16", "bool")), min_size=1, max_size=4))
@quick
def test_histograms_add_up(several):
    """Of any short types together, as if all pixels were one image."""
    added = make_histogram(several[0])
    for image in several[1:]:
        added = added + make_histogram(image)
    values, counts = np.unique(np.concatenate([image.ravel().astype(int) for image in several]), return_counts=True)
    seen = added.counts > 0
    assert added.values[seen].tolist() == values.tolist() and added.counts[seen].tolist() == counts.tolist()
    assert added.pixels == counts.sum()
    together = np.concatenate([image.ravel().astype(int) for image in several])
    assert added.percentiles((0, 37, 100)) == pytest.approx(np.percentile(together, (0, 37, 100)))


def test_channels_have_ranges_of_their_own():
    rng = np.random.default_rng(2)
    several = [rng.integers(0, 200, (9, 11, 3)).astype(np.uint8) * np.uint8([1, 0, 1]) for _ in range(2)]
    found = find_range(several, percentiles=(5, 95), by_channel=True)
    wanted = np.percentile(np.stack(several), (5, 95), axis=(0, 1, 2))
    assert found.low == pytest.approx(wanted[0]) and found.high == pytest.approx(wanted[1])
    assert found.pixels == 2 * 9 * 11 * 3
    stretched = normalise(several[0], found.low, found.high)
    for channel in range(3):
        alone = normalise(several[0][..., channel], found.low[channel], found.high[channel])
        assert np.array_equal(stretched[..., channel], alone)
    assert np.all(stretched[..., 1] == 0)


@given(images(nonfinite=True), st.data())
@settings(deadline=None, max_examples=400)
def test_bounds_are_respected(image, data):
    bounds, dtype = data.draw(
        st.sampled_from(
            [((0, 1), "float32"), ((0.2, 0.8), "float32"), ((0.1, 0.7), "float32"), ((-10, 10), "float32"),
             ((0, 255), "float32"), ((0, 255), "uint8"), ((3, 200), "uint8"), ((0, 65535), "uint16"),
             ((0, 255), "uint16")]
        )
    )  # fmt: skip
    finite = image[np.isfinite(image)].astype(np.float64)
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if data.draw(st.booleans()):
        low, high = low + (high - low) * 0.3, high - (high - low) * 0.2
    stretched = normalise(image, low, high, bounds=bounds, dtype=dtype)
    assert stretched.shape == image.shape and stretched.dtype == dtype
    lower, upper = np.array(bounds, dtype)
    assert np.all((stretched >= lower) & (stretched <= upper))  # NaN would not be
    values = image.astype(np.float64)
    if high > low and (high - low) > 1e-5 * max(abs(low), abs(high)):
        share = np.clip((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) / (high - low), 0, 1)
        wanted = bounds[0] + share * (bounds[1] - bounds[0])
        tolerance = (bounds[1] - bounds[0]) * 0.02 + (0.5 if dtype.startswith("u") else 0)
        assert np.abs(stretched - wanted).max() <= tolerance
    order = np.argsort(np.nan_to_num(values, nan=-np.inf), axis=None, kind="stable")
    assert np.all(np.diff(stretched.ravel()[order].astype(np.float64)) >= 0)


def test_values_are_rounded_and_clipped():
    image = np.array([[0, 10, 100, 101, 110, 200, 255]], np.uint8)
    stretched = normalise(image, 10, 110, bounds=(0, 255), dtype="uint8")
    assert stretched.tolist() == [[0, 0, 230, 232, 255, 255, 255]]  # 229.5 and 232.05
    odd = np.array([[0, 1, 2, 3, 4, 5, 6, 7]], np.uint8)
    wanted = [[0, 36, 73, 109, 146, 182, 219, 255]]
    assert normalise(odd, 0, 7, bounds=(0, 255), dtype="uint8").tolist() == wanted


def test_small_and_large_values_keep_their_range():
    tiny = np.linspace(0, 9e-6, 10, dtype=np.float32)[None]
    assert normalise(tiny, tiny.min(), tiny.max())[0] == pytest.approx(np.linspace(0, 1, 10), abs=1e-6)
    for dtype in ("uint32", "float64", "int64"):
        far = (4_000_000_000 + np.arange(5)).astype(dtype)[None]
        assert normalise(far, far.min(), far.max())[0].tolist() == [0, 0.25, 0.5, 0.75, 1]
    huge = np.array([[-3e38, 0, 3e38]], np.float32)
    assert normalise(huge, huge.min(), huge.max())[0].tolist() == [0, 0.5, 1]


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize(("bounds", "dtype"), [((0, 1), "float32"), ((10, 200), "uint8"), ((0.2, 0.8), "float32")])
def test_an_image_of_one_value_is_the_lower_bound(value, bounds, dtype):
    image = np.full((5, 4), value, np.uint8)
    found = find_range(image)
    assert np.all(
        normalise(image, found.low, found.high, bounds=bounds, dtype=dtype) == np.dtype(dtype).type(bounds[0])
    )


def test_what_is_not_finite_becomes_a_bound():
    image = np.array([[np.nan, -np.inf, 0, 5, 10, np.inf]], np.float32)
    assert normalise(image, 0, 10).tolist() == [[0, 0, 0, 0.5, 1, 1]]
    assert normalise(image, 0, 10, bounds=(0, 200), dtype="uint8").tolist() == [[0, 0, 0, 100, 200, 200]]
    assert normalise(image, 5, 5).tolist() == [[0, 0, 0, 0, 1, 1]]


def test_blocks_make_no_difference():
    image = np.random.default_rng(3).integers(0, 65536, (700, 900)).astype(np.uint16)
    for bounds, dtype in (((0, 1), "float32"), ((0, 255), "uint8")):
        whole = normalise(image, 50, 60000, bounds=bounds, dtype=dtype)
        rows = [normalise(image[row : row + 7], 50, 60000, bounds=bounds, dtype=dtype) for row in range(0, 700, 7)]
        assert np.array_equal(whole, np.concatenate(rows))
        out = np.empty(image.shape, dtype)
        assert normalise(image, 50, 60000, bounds=bounds, dtype=dtype, out=out) is out
        assert np.array_equal(out, whole)


@given(images(nonfinite=True), st.sampled_from(SHORT + LONG))
@settings(deadline=None, max_examples=400)
def test_conversion_never_wraps(image, name):
    dtype = np.dtype(name)
    if dtype.kind == "f":
        return
    converted = convert_pixels(image, dtype)
    assert converted.dtype == dtype and converted.shape == image.shape
    low, high = (0, 1) if name == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for before, after in zip(image.ravel().tolist(), converted.ravel().tolist(), strict=True):
        if before != before:
            assert after == 0
        elif np.isfinite(before) and name != "bool":
            wanted = min(max(round(before), low), high)
            assert abs(int(after) - wanted) <= abs(wanted) * 2.0**-10 * (before != int(after)) * (wanted in (low, high))
        elif name != "bool":
            assert int(after) == pytest.approx(high if before > 0 else low, rel=1e-3)


def test_types_follow_the_bounds():
    assert allowed_types((0, 1)) == ("float32",)
    assert allowed_types((0, 255)) == ("uint8", "uint16", "float32")
    assert allowed_types((0, 65535)) == ("uint16", "float32")
    assert allowed_types((0, 256)) == ("uint16", "float32")
    assert allowed_types((-1, 1)) == allowed_types((0, 65536)) == allowed_types((0, 10.5)) == ("float32",)
    assert allowed_types((1, 1 + 1e-12)) == ()
    reasons = judge_types((-10, 10))
    assert reasons == {
        "uint8": "uint8 holds 0 to 255, not -10 to 10",
        "uint16": "uint16 holds 0 to 65535, not -10 to 10",
        "float32": "",
    }


def test_formats_follow_the_type():
    assert allowed_formats("uint8") == allowed_formats("uint8", channels=3) == (".tif", ".png", ".jpg")
    assert allowed_formats("uint8", channels=2) == (".tif",)
    assert allowed_formats("uint16") == (".tif", ".png")
    assert allowed_formats("uint16", channels=3) == allowed_formats("float32") == allowed_formats("int16") == (".tif",)
    assert "uint16 with 3 channels needs .tif" in judge_formats("uint16", channels=3)[".png"]


def test_choices_refused():
    check_choice((0, 255), "uint8", ".jpg")
    check_choice(None, "int32")
    for bounds, dtype, format, words in (
        ((0, 1), "uint8", ".tif", "dtype must be float32 for bounds 0 to 1; got uint8: .*two values"),
        ((0, 65535), "uint8", ".tif", "dtype must be uint16 or float32.*uint8 holds 0 to 255, not 0 to 65535"),
        ((0, 1), "float64", ".tif", "dtype must be float32.*got float64: it is not a type of normalised tiles"),
        ((0, 255), "uint16", ".jpg", "format must be .tif or .png for uint16; got .jpg: JPEG holds uint8"),
        ((0, 1), "float32", ".png", "format must be .tif for float32; got .png"),
        ((0, 1), "float32", ".bmp", "format must be .tif for float32; got .bmp: it is not a format of ours"),
        ((1, 0), "float32", ".tif", "bounds must be two numbers, the lower one first"),
        ((0, np.nan), "float32", ".tif", "bounds must be two numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            check_choice(bounds, dtype, format)


def test_ranges_refused():
    image = np.zeros((4, 5), np.uint8)
    for pair in ((1,), (99, 1), (-1, 50), (0, 101), (50, 50)):
        with pytest.raises(ValueError, match="percentiles must be two of 0 to 100, the lower one first"):
            find_range(image, percentiles=pair)
    with pytest.raises(TypeError, match="got a generator"):
        find_range(iter([image]), percentiles=(1, 99))
    for mixed in ([image, image.astype(np.float32)], [image.astype(np.float32), image.astype(np.float64)]):
        with pytest.raises(ValueError, match=r"images must .*type|whole numbers of at most 16 bits"):
            find_range(mixed, percentiles=(1, 99))
        assert find_range(mixed).high == 0
    for nothing in ([], [image[:0]]):
        for pair in ((0, 100), (1, 99)):
            with pytest.raises(ValueError, match="images must have a finite pixel"):
                find_range(nothing, percentiles=pair)
    with pytest.raises(TypeError, match="images must be of numbers; got <U1"):
        find_range(np.full((2, 2), "a"))
    with pytest.raises(ValueError, match="same channels"):
        find_range([image, np.zeros((4, 5, 3), np.uint8)], by_channel=True)
    with pytest.raises(ValueError, match="at most 16 bits to be counted; got float32"):
        make_histogram(image.astype(np.float32))
    for low, high in ((1, 0), (np.nan, 1), (0, np.inf), (-1e308, 1e308)):
        with pytest.raises(ValueError, match="low and high must be finite numbers, low not above high"):
            normalise(image, low, high)
    with pytest.raises(ValueError, match="one for each channel"):
        normalise(image, (0, 0, 0), (1, 1, 1))
    with pytest.raises(ValueError, match=r"out must be .4, 5. of float32; got .4, 4. of float32"):
        normalise(image, 0, 1, out=np.empty((4, 4), np.float32))
