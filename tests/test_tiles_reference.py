"""Tiles against what Microglia Analyzer 2.1.1 wrote; skipped where its outputs are absent."""

import hashlib
import importlib.util
import json

import numpy as np
import pytest

from analysis.tiles import (
    cut_bands,
    cut_tiles,
    find_range,
    make_layout,
    merge_tiles,
    normalise,
    resample,
    resample_bands,
    resampled_shape,
)

pytestmark = pytest.mark.reference

NORMS = {
    "f32_0_1": ((0.0, 1.0), "float32"),
    "u8_0_255": ((0, 255), "uint8"),
    "u16_0_65535": ((0, 65535), "uint16"),
    "f32_0.2_0.8": ((0.2, 0.8), "float32"),
}
PIXEL_SIZES_UM = {"0.65um": 0.65, "172.5nm": 0.1725, "0.325um": 0.325, "0.5um": 0.5, "0.1um": 0.1}


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()).hexdigest()


@pytest.fixture(scope="module")
def written(reference):
    folder = reference / "tiles"
    with np.load(folder / "reference.npz") as arrays:
        return json.loads((folder / "reference.json").read_text()), dict(arrays)


@pytest.fixture(scope="module")
def images(reference, written):
    spec = importlib.util.spec_from_file_location("refgen", reference / "tiles" / "refgen.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = {name: module.make(name) for name in module.SPECS}
    for name, told in written[0]["images"].items():
        assert sha256(made[name]) == told["sha256"]
    return made


def settings_of(key):
    """Tile size and overlap of a key such as gray16_97x130/P64_ov32/raw."""
    size, overlap = key.split("/")[1].split("_ov")
    return {"tile_size": int(size[1:]), "overlap": int(overlap)}


def normalised(image, norm):
    if norm == "raw":
        return image
    found = find_range(image)
    bounds, dtype = NORMS[norm]
    return normalise(image, found.low, found.high, bounds=bounds, dtype=dtype)


def test_layouts(written):
    layouts = written[0]["layouts"]
    assert len(layouts) >= 20
    for told in layouts:
        layout = make_layout(told["shape"], tile_size=told["patch"], overlap=told["overlap"])
        assert (list(layout.grid), len(layout)) == (told["grid"], told["n"])
        assert (layout.starts_y.tolist(), layout.starts_x.tolist()) == (told["ys"], told["xs"])
        assert sha256(layout.corners) == told["sha256_of_corners_int64"]
        assert sha256(layout.overlaps) == told["sha256_of_overlaps_int64_LBRT"]
        if "corners_y0x0y1x1" in told:
            assert layout.corners.tolist() == told["corners_y0x0y1x1"]
            assert layout.overlaps.tolist() == told["overlaps_LBRT"]
            assert layout.neighbours.tolist() == told["neighbours_LBRT"]


def test_normalised_values(written, images):
    exact = 0
    for told in written[0]["normalize"]:
        image, (bounds, dtype) = images[told["image"]], NORMS[told["norm"]]
        ours = normalised(image, told["norm"])
        if told["image"] in ("const7_64x64", "zeros_64x64"):
            # there the original is all upper bound, or all 0: ours is the lower bound for both
            assert np.all(ours == ours.dtype.type(bounds[0]))
            continue
        assert ours.dtype == told["dtype"] == dtype
        if dtype == "float32":
            assert sha256(ours) == told["sha256"]
            exact += 1
        else:
            # the original cuts where we round: on the average half a level, never more than one
            assert (ours.min(), ours.max()) == (told["min"], told["max"])
            assert 0 <= ours.mean() - told["mean"] <= 1
            cut = normalise(image, image.min(), image.max()) * (bounds[1] - bounds[0]) + np.float32(bounds[0])
            assert sha256(cut.astype(dtype)) == told["sha256"]
            assert np.abs(ours.astype(int) - cut.astype(dtype)).max() <= 1
    assert exact == 14


def test_tiles(written, images):
    compared = 0
    for told in written[0]["tiles"]:
        name, _, norm = told["key"].split("/")
        if norm not in ("raw", "f32_0_1", "f32_0.2_0.8") or name in ("const7_64x64", "zeros_64x64"):
            continue
        image = normalised(images[name], norm)
        layout = make_layout(image.shape, **settings_of(told["key"]))
        assert [sha256(tile)[:16] for tile in cut_tiles(image, layout)] == told["sha256_each"]
        assert [sha256(tile)[:16] for tile in cut_bands([image[:13], image[13:]], layout)] == told["sha256_each"]
        compared += 1
    assert compared > 40


def original_sums(layout):
    """What the original's gradient weights sum to: ramps, ends included, at sides with a neighbour."""
    total = np.zeros(layout.shape)
    for (y0, x0, y1, x1), sides in zip(layout.corners.tolist(), layout.overlaps.tolist(), strict=True):
        weight = np.ones(layout.tile_size)
        left, bottom, right, top = (np.linspace(0, 1, shared) for shared in sides)
        weight[:, : len(left)] *= left
        weight[layout.tile_size[0] - len(bottom) :] *= bottom[::-1, None]
        weight[:, layout.tile_size[1] - len(right) :] *= right[::-1]
        weight[: len(top)] *= top[:, None]
        total[y0:y1, x0:x1] += weight
    return total


def test_sums_are_those_of_the_original(written):
    """The formula above gives the maps that the original wrote."""
    for key, maps in written[1].items():
        if not key.startswith("coefs/") or not key.endswith("gradient"):
            continue
        layout = make_layout((97, 130), **settings_of("/" + key.split("/")[2]))
        total = np.zeros(layout.shape)
        for (y0, x0, y1, x1), weight in zip(layout.corners, maps, strict=True):
            total[y0:y1, x0:x1] += weight
        assert np.abs(total - original_sums(layout)).max() < 1e-6


def check_merged(ours, theirs, image, right):
    """Exactly the original's where its weights sum to 1, and the image elsewhere."""
    if right.shape != theirs.shape:
        right = np.broadcast_to(right[..., None], theirs.shape)
    if theirs.dtype.kind == "f":
        np.testing.assert_array_max_ulp(ours[right], theirs[right], 4)
    else:
        # the original cuts where we round
        difference = ours.astype(int) - theirs
        assert difference[right].min(initial=0) >= 0 and difference[right].max(initial=0) <= 1
    assert np.array_equal(ours, image)


def test_merged_images(written, images):
    compared = set()
    for key, theirs in written[1].items():
        if not key.startswith("merged/"):
            continue
        key, blending = key.removeprefix("merged/").rsplit("/", 1)
        name, _, norm = key.split("/")
        image = normalised(images[name], norm)
        layout = make_layout(image.shape, **settings_of(key))
        ours = merge_tiles(cut_tiles(image, layout), layout, blending=blending)
        right = np.abs(original_sums(layout) - 1) < 1e-9 if blending == "gradient" else np.ones(layout.shape, bool)
        assert right.any()
        check_merged(ours, theirs, image, right)
        compared.add((blending, bool(right.all())))
    assert compared == {("gradient", True), ("gradient", False), ("flat", True)}


@pytest.mark.parametrize("blending", ["gradient", "flat"])
def test_the_worst_length(blending, written, images):
    image = normalised(images["gray16_897x897"], "f32_0_1")
    layout = make_layout(image.shape)
    ours = merge_tiles(cut_tiles(image, layout), layout, blending=blending)
    sums = original_sums(layout) if blending == "gradient" else np.ones(layout.shape)
    right = np.abs(sums - 1) < 1e-9
    assert sums.max() == pytest.approx(1.126312 if blending == "gradient" else 1, abs=1e-6)
    for line, at in (("row448", np.s_[448]), ("col448", np.s_[:, 448])):
        theirs = written[1][f"merged_{line}/gray16_897x897/P512_ov128/f32_0_1/{blending}"]
        check_merged(ours[at], theirs, image[at], right[at])


def test_means_of_merged_images(written, images):
    """Every merge of the original that is right has our mean."""
    sums = {
        (told["key"].rsplit("/", 1)[0], told["blending"]): told["max"]
        for told in written[0]["merged"]
        if told["key"].endswith("coefficient_sum")
    }
    compared = 0
    for told in written[0]["merged"]:
        name, _, norm = (*told["key"].split("/"),)
        if (
            norm not in ("f32_0_1", "f32_0.2_0.8")
            or abs(sums[told["key"].rsplit("/", 1)[0], told["blending"]] - 1) > 1e-7
        ):
            continue
        if "ov1/" in told["key"] and told["blending"] == "gradient":
            continue  # the sum is at most 1 there, and 0 along the shared line
        image = normalised(images[name], norm)
        layout = make_layout(image.shape, **settings_of(told["key"]))
        merged = merge_tiles(cut_tiles(image, layout), layout, blending=told["blending"])
        assert merged.mean(dtype=np.float64) == pytest.approx(told["mean"], rel=1e-6)
        compared += 1
    assert compared > 20


def test_resampled_shapes(written):
    for told in written[0]["recalibrate_shapes"]:
        if len(told["in"]) == 2:  # the original scales the last two axes of colour too
            assert list(resampled_shape(told["in"], told["px_um"] / 0.325)) == told["out"]


@pytest.mark.parametrize("key", [f"{px}/order{order}" for px in PIXEL_SIZES_UM for order in (0, 3)])
def test_resampled_values(key, written, images):
    pixel_size, order = key.split("/order")
    image = images["gray16_97x130"]
    theirs = written[1][f"ori2net/gray16_97x130/{key}"]
    ours = resample(image, PIXEL_SIZES_UM[pixel_size] / 0.325, anti_aliasing=False, order=int(order))
    assert ours.shape == theirs.shape
    if order == "0":
        assert ours.dtype == image.dtype and np.array_equal(ours, theirs)
    else:
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= 1e-5 * np.ptp(image)


@pytest.mark.parametrize("name", ["gray8_512x512", "gray16_1000x1301", "f32_2048x1536"])
def test_resampled_larger_images(name, written, images):
    image, compared = images[name], 0
    for told in written[0]["recalibrate"]:
        if told["image"] != name or told["order"] != 3:
            continue
        pixel_size = f"{told['px']:g}{told['unit'].replace('µ', 'u')}"
        ours = resample(image, PIXEL_SIZES_UM[pixel_size] / 0.325, anti_aliasing=False)
        assert list(ours.shape) == told["shape"]
        tolerance = 1e-5 * float(np.ptp(image))
        assert (ours.min(), ours.max(), ours.mean(dtype=np.float64)) == pytest.approx(
            (told["min"], told["max"], told["mean"]), abs=tolerance
        )
        corner = f"ori2net_crop64/{name}/{pixel_size}"
        if corner in written[1]:
            assert np.abs(ours[:64, -64:] - written[1][corner]).max() <= tolerance
            compared += 1
    assert compared >= 4


def test_bands_of_a_large_image(images):
    image = images["gray16_1000x1301"]
    bands = list(resample_bands(image, 0.65 / 0.325, anti_aliasing=False))
    assert len(bands) > 1
    assert np.array_equal(np.concatenate(bands), resample(image, 2.0, anti_aliasing=False))
