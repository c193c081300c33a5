"""Discs drawn at known places are found there, nothing is found where nothing is, and nonsense is refused."""

import secrets

import numpy as np
import pandas as pd
import pytest
import skimage.data
from PIL import Image
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from analysis.circles import detect_circles, prepare_image
from analysis.synthetic.circles import SUBJECTS, draw_phantom

PLACE = ["x_px", "y_px", "r_px"]
COLUMNS = [*PLACE, "support", "contrast", "border", "overlap", "weak"]
WITHOUT_DISCS = ("camera", "astronaut", "text", "page", "brick", "grass", "gravel", "chelsea", "rocket",
                 "hubble_deep_field")  # fmt: skip


def match(found, truth, tolerance=5.0):
    """Return hits, false detections, misses, and the errors of the radii of the hits.

    A disc hardly visible or hardly inside is neither a hit nor a miss, and what lies on it is not false.
    """
    must = ((truth["visible"] >= 0.5) & (truth["inside"] >= 0.6)).to_numpy()
    if not len(found):
        return 0, 0, int(must.sum()), []
    places = truth[["x", "y", "r"]].to_numpy()
    distance = cdist(found[:, :2], places[:, :2])
    first, second = linear_sum_assignment(np.where(distance <= tolerance, distance - 1e3 * must, 1e6))
    close = distance[first, second] <= tolerance
    first, second = first[close], second[close]
    hit = must[second]
    errors = np.abs(found[first[hit], 2] - places[second[hit], 2])
    return int(hit.sum()), len(found) - len(first), int(must.sum() - hit.sum()), list(errors)


def score(pictures):
    """Return F1 and the mean error of the radius over (pixels, truth)."""
    hits, false, missed, errors = 0, 0, 0, []
    for pixels, truth in pictures:
        result = match(detect_circles(pixels).table[PLACE].to_numpy(), truth)
        hits, false, missed = hits + result[0], false + result[1], missed + result[2]
        errors += result[3]
    return 2 * hits / (2 * hits + false + missed), np.mean(errors)


def assert_same(first, second, tolerance=5e-3, supports=0.05):
    """Assert that both tables hold the same circles, whatever their order."""
    one, other = (table.sort_values(["x_px", "y_px"])[PLACE].to_numpy() for table in (first, second))
    assert one.shape == other.shape
    assert np.abs(one - other).max(initial=0) <= tolerance
    assert sorted(first["support"]) == pytest.approx(sorted(second["support"]), abs=supports)


@pytest.fixture(scope="module")
def crowded():
    return draw_phantom((300, 420), level="crowded", subject=(25, 5, 100, 20), seed=5)


# --------------------------------------------------------------------------------------------------- truth


@pytest.mark.parametrize(
    ("level", "least_f1", "most_px"), [("clean", 1.0, 0.02), ("noisy", 0.99, 0.15), ("crowded", 0.98, 0.10)]
)
def test_phantoms_of_fresh_seeds(level, least_f1, most_px):
    first = secrets.randbelow(2**31)
    subjects = list(SUBJECTS.values())
    drawn = (draw_phantom(level=level, subject=subjects[k % 2], seed=first + k) for k in range(24))
    f1, error = score((phantom.pixels, phantom.truth) for phantom in drawn)
    assert f1 >= least_f1 and error <= most_px, f"{level}: F1 {f1:.4f}, radius error {error:.4f} px, seeds from {first}"


def test_large_phantoms_of_fresh_seeds():
    for level, least_f1 in (("clean", 1.0), ("noisy", 0.98), ("crowded", 0.97)):
        first = secrets.randbelow(2**31)
        # one image has 25 discs, of which a missed one would be too many
        drawn = (draw_phantom((1024, 1024), level=level, subject=SUBJECTS["s2"], seed=first + k) for k in range(6))
        assert score((each.pixels, each.truth) for each in drawn)[0] >= least_f1, f"{level}, seeds from {first}"


def test_coins():
    image = skimage.data.coins()
    table = detect_circles(image).table
    assert len(table) == 24 and table["support"].min() > 0.8
    # one in each of 4 rows of 6
    assert np.bincount((table["y_px"] // 75).astype(int).clip(0, 3)).tolist() == [6, 6, 6, 6]
    assert table["r_px"].between(15, 32).all()


def test_pictures_without_discs(capsys):
    counts = {name: len(detect_circles(getattr(skimage.data, name)())) for name in WITHOUT_DISCS}
    with capsys.disabled():
        print(f"\n{sum(counts.values())} circles in pictures without discs: {counts}")
    assert sum(counts.values()) <= 40


@pytest.mark.parametrize("kind", ["uniform", "gauss", "poisson", "poisson_dark"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_noise_has_no_discs(kind, dtype):
    seed = secrets.randbelow(2**31)
    rng = np.random.default_rng(seed)
    shape = (500, 700)
    pixels = {
        "uniform": lambda: rng.uniform(0, 255, shape),
        "gauss": lambda: np.clip(rng.normal(100, 20, shape), 0, 255),
        "poisson": lambda: rng.poisson(20, shape),
        "poisson_dark": lambda: rng.poisson(0.5, shape),
    }[kind]()
    assert len(detect_circles(pixels.astype(dtype))) == 0, f"seed {seed}"


def test_an_empty_table_is_a_result():
    for value in (0, 12, 255):
        found = detect_circles(np.full((200, 300), value, np.uint8), pixel_size_um=0.5)
        assert list(found.table.columns) == [*COLUMNS, "x_um", "y_um", "r_um"]
        assert len(found) == 0 and found.summary()["circles"] == 0 and found.summary()["median_radius_px"] is None
        assert found.table.dtypes[["border", "x_px", "x_um"]].astype(str).tolist() == ["bool", "float64", "float64"]


@pytest.mark.parametrize("shape", [(1, 1), (2, 300), (300, 1), (8, 8), (11, 40), (12, 12), (13, 500)])
def test_small_images(shape):
    assert len(detect_circles(np.random.default_rng(1).random(shape))) == 0


# ------------------------------------------------------------------------------------------------ reference


@pytest.mark.reference
def test_reference_phantoms(reference, capsys):
    folder = reference / "circles"
    truth = pd.read_csv(folder / "truth.csv", dtype={"date": str})
    original = pd.read_csv(folder / "original_detections_skimage0.14.1.csv")
    prototype = pd.read_csv(folder / "ring_voting_detections.csv")
    lines = []
    for level, images in truth.groupby("level"):
        totals = {"here": np.zeros(3, int), "prototype": np.zeros(3, int), "original": np.zeros(3, int)}
        errors = {name: [] for name in totals}
        for keys, discs in images.groupby(["date", "subject", "experiment", "fov"]):
            name = f"{level}/data/acquisitions/{'/'.join(keys)}.png"
            ours = detect_circles(np.asarray(Image.open(folder / name))).table[PLACE].to_numpy()
            tables = {"here": ours}
            for other, table in (("prototype", prototype), ("original", original)):
                tables[other] = table.loc[table["image"] == name, ["X", "Y", "R"]].dropna().to_numpy()
            for who, found in tables.items():
                *counts, off = match(found, discs)
                totals[who] += counts
                errors[who] += off
            for x, y, _ in tables["original"]:
                confirmed = np.hypot(discs["x"] - x, discs["y"] - y).min() <= 5
                assert not confirmed or np.hypot(ours[:, 0] - x, ours[:, 1] - y).min() <= 6, (name, x, y)
        for who, (hits, false, missed) in totals.items():
            f1 = 2 * hits / (2 * hits + false + missed)
            lines.append(f"{level:8} {who:10} F1 {f1:.3f}, radius error {np.mean(errors[who]):.3f} px")
        assert totals["here"].tolist() == [totals["here"][0], 0, 0]
        assert np.mean(errors["here"]) <= {"clean": 0.02, "noisy": 0.15, "crowded": 0.10}[level]
    with capsys.disabled():
        print("", *lines, sep="\n")


@pytest.mark.reference
def test_reference_edge_cases(reference):
    folder = reference / "circles" / "edge"
    truth = pd.read_csv(folder / "truth.csv")
    for path in sorted(folder.glob("*.png")):
        discs = truth[truth["image"] == path.name]
        found = detect_circles(np.asarray(Image.open(path))).table
        assert len(found) == len(discs), path.name
        for disc in discs.itertuples():
            near = found.loc[np.hypot(found["x_px"] - disc.x, found["y_px"] - disc.y).idxmin()]
            assert near[PLACE].tolist() == pytest.approx([disc.x, disc.y, disc.r], abs=0.1)
            assert near["contrast"] == pytest.approx(disc.nominal - 12, abs=1)
            assert near["support"] > 0.95 and near["border"] == (path.name == "border.png")


# --------------------------------------------------------------------------------------------- invariances


def test_type_gain_and_offset_do_not_matter(crowded):
    table, pixels = detect_circles(crowded.pixels).table, crowded.pixels
    assert len(table) >= 2
    assert_same(table, detect_circles(pixels.astype(np.uint16) * 257).table)
    assert_same(table, detect_circles(pixels.astype(np.int32) * -3 + 7, polarity="dark").table)
    for dtype in ("float32", "float64", "int16", "uint32", "int64", "float16"):
        assert_same(table, detect_circles(pixels.astype(dtype)).table)
    scaled = detect_circles(pixels.astype(float) * 1e-9 - 5.0).table
    assert_same(table, scaled, tolerance=0.01)
    assert scaled["contrast"].to_numpy() == pytest.approx(table["contrast"].to_numpy() * 1e-9, rel=0.01)
    assert_same(table, detect_circles(pixels.astype(float) * 1e30).table)
    assert_same(table, detect_circles(pixels.byteswap().view(pixels.dtype.newbyteorder())).table)


def test_turned_and_mirrored_images_give_turned_and_mirrored_circles(crowded):
    pixels = crowded.pixels
    rows, columns = pixels.shape
    table = detect_circles(pixels).table
    x, y = table["x_px"], table["y_px"]
    for turned, places in (
        (pixels.T, {"x_px": y, "y_px": x}),
        (pixels[::-1], {"y_px": rows - 1 - y}),
        (pixels[:, ::-1], {"x_px": columns - 1 - x}),
        (np.rot90(pixels), {"x_px": y, "y_px": columns - 1 - x}),
    ):
        assert_same(table.assign(**places), detect_circles(turned).table, tolerance=0.05, supports=0.1)


def test_colour(crowded):
    grey = crowded.pixels
    table = detect_circles(grey).table
    for layers in (1, 3):
        assert_same(table, detect_circles(np.repeat(grey[..., None], layers, axis=2)).table)
    opaque = np.dstack([grey, grey, grey, np.random.default_rng(0).integers(0, 256, grey.shape, np.uint8)])
    assert_same(table, detect_circles(opaque).table)
    red = np.zeros((*grey.shape, 3), np.uint8)
    red[..., 0] = grey
    assert_same(table, detect_circles(red).table, tolerance=0.01)
    # 0.299 of red
    strong = detect_circles(red).table["contrast"].max() / table["contrast"].max()
    assert strong == pytest.approx(0.299, abs=0.005)


def test_the_same_pixels_give_the_same_bits(crowded):
    first, again = (detect_circles(crowded.pixels).table for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert first["support"].is_monotonic_decreasing
    prepared = prepare_image(crowded.pixels)
    detect_circles(prepared, radius_px=(10, 20), strictness=0.6)
    pd.testing.assert_frame_equal(detect_circles(prepared).table, first, check_exact=True)


def test_the_image_is_left_as_it_was(crowded):
    before = crowded.pixels.copy()
    before.flags.writeable = False
    detect_circles(before)
    assert np.array_equal(before, crowded.pixels)


# -------------------------------------------------------------------------------------------------- edges


def test_discs_that_touch_or_are_close():
    circles = [(90, 100, 20, 200), (131.5, 100, 20, 180), (111, 137, 20, 160), (60, 200, 15, 200), (60, 232, 15, 190)]
    phantom = draw_phantom((280, 260), circles=circles, seed=1)
    table = detect_circles(phantom.pixels).table
    assert match(table[PLACE].to_numpy(), phantom.truth, tolerance=0.3)[:3] == (5, 0, 0)
    assert not table["overlap"].any()


@pytest.mark.parametrize(("pitch", "smallest", "largest", "low"), [(46, 9, 14, 8.0), (28, 3.2, 5, 3.0)])
def test_many_small_discs(pitch, smallest, largest, low):
    rng = np.random.default_rng(secrets.randbelow(2**31))
    places = [(x, y) for x in range(pitch // 2, 920, pitch) for y in range(pitch // 2, 920, pitch)]
    circles = [(x, y, rng.uniform(smallest, largest), 150) for x, y in np.array(places) + rng.uniform(-3, 3, 2)]
    phantom = draw_phantom((920, 920), circles=circles, seed=1)
    table = detect_circles(phantom.pixels, radius_px=(low, 30)).table
    hits, false, missed, _ = match(table[PLACE].to_numpy(), phantom.truth, tolerance=1)
    assert false == 0 and missed <= 0.01 * len(circles), f"{hits} of {len(circles)}"


@pytest.mark.parametrize(("radius", "gap"), [(10, 8), (12, 5), (15, 3), (15, 8), (20, 5)])
def test_lattices_of_discs_are_no_texture(radius, gap):
    pitch = 2 * radius + gap
    places = np.arange(pitch / 2 + 0.3, 512 - pitch / 2, pitch)
    circles = [(x, y, radius, 150) for x in places for y in places]
    phantom = draw_phantom((512, 512), circles=circles, seed=secrets.randbelow(2**31))
    table = detect_circles(phantom.pixels, radius_px=(0.6 * radius, 1.6 * radius)).table
    assert match(table[PLACE].to_numpy(), phantom.truth, tolerance=1)[:3] == (len(circles), 0, 0)


def test_flags():
    circles = [(90, 100, 32, 200), (112, 122, 30, 120), (255, 40, 20, 200), (60, 220, 22, 200)]
    phantom = draw_phantom((280, 260), circles=circles, seed=2)
    table = detect_circles(phantom.pixels).table.sort_values("r_px", ascending=False)
    assert table["r_px"].tolist() == pytest.approx([32, 30, 22, 20], abs=0.1)
    assert table["overlap"].tolist() == [True, True, False, False]
    assert table["border"].tolist() == [False, False, False, True]
    assert not table["weak"].any()
    # weak: little more than the strictness asks for, or hardly above the noise
    under = float(table["support"].min())
    assert 0.5 < under < 0.8
    weak = detect_circles(phantom.pixels, strictness=under - 0.05).table
    assert weak["weak"].tolist() == (weak["support"] < under + 0.05).tolist() and weak["weak"].any()
    noisy = np.random.default_rng(1).normal(0, 40, phantom.pixels.shape) + phantom.pixels * 0.4
    assert detect_circles(noisy).table["weak"].all()


def test_faint_discs():
    circles = [(60, 70, 30, 24), (150, 60, 20, 24), (200, 150, 12, 24)]
    phantom = draw_phantom((220, 260), circles=circles, seed=secrets.randbelow(2**31))
    table = detect_circles(phantom.pixels).table
    assert match(table[PLACE].to_numpy(), phantom.truth, tolerance=0.5)[:3] == (3, 0, 0), phantom.settings
    assert table["contrast"].tolist() == pytest.approx([12] * 3, abs=1)


def test_polarity():
    phantom = draw_phantom((260, 260), circles=[(80, 80, 30, 220)], seed=3)
    pixels = phantom.pixels.astype(int) + 100
    rows, columns = np.ogrid[:260, :260]
    pixels[np.hypot(rows - 170, columns - 180) <= 25] -= 90
    place = {"bright": [80, 80, 30], "dark": [180, 170, 25]}
    for polarity, sign in (("bright", 1), ("dark", -1)):
        table = detect_circles(pixels, polarity=polarity).table
        assert table[PLACE].to_numpy().tolist() == [pytest.approx(place[polarity], abs=0.3)]
        assert np.sign(table["contrast"][0]) == sign
    assert len(detect_circles(pixels)) == 2


def test_unknown_pixels(crowded):
    table = detect_circles(crowded.pixels).table
    best = table.iloc[0]
    holed = crowded.pixels.astype(float)
    # a corner far from the best, and a pixel in the middle of it
    row, column = int(best["y_px"]), int(best["x_px"])
    holed[row, column] = np.inf
    corner = (slice(0, 30) if row > 150 else slice(-30, None), slice(0, 30) if column > 210 else slice(-30, None))
    holed[corner] = np.nan
    found = detect_circles(holed)
    assert np.hypot(found.table["x_px"] - best["x_px"], found.table["y_px"] - best["y_px"]).min() < 0.1
    assert found.warnings == ("901 of 126000 pixels are not finite and were filled from beside.",)
    assert len(detect_circles(np.full((100, 100), np.nan))) == 0
    half = np.where(np.arange(420) < 200, np.nan, crowded.pixels)
    assert (detect_circles(half).table["x_px"] > 180).all()


def test_saturated_image():
    phantom = draw_phantom((300, 300), circles=[(100, 120, 40, 255), (210, 210, 30, 255)], seed=4)
    for pixels in (np.where(phantom.pixels > 100, 255, 0).astype(np.uint8), phantom.pixels > 100):
        assert match(detect_circles(pixels).table[PLACE].to_numpy(), phantom.truth, 0.3)[:3] == (2, 0, 0)
    assert len(detect_circles(np.full((100, 100), 65535, np.uint16))) == 0


def test_radius_range():
    phantom = draw_phantom((300, 420), circles=[(100, 120, 12, 200), (210, 110, 30, 200), (320, 180, 60, 200)], seed=4)
    radii = {limits: sorted(detect_circles(phantom.pixels, radius_px=limits).table["r_px"].round())
             for limits in [(8, 80), (8, 20), (20, 40), (40, 90), (3, 1e7), (61, 61.2)]}  # fmt: skip
    assert radii[8, 80] == radii[3, 1e7] == [12, 30, 60]
    assert radii[8, 20] == [12] and radii[20, 40] == [30] and radii[40, 90] == [60]
    assert len(detect_circles(phantom.pixels, radius_px=(500, 600))) == 0
    huge = draw_phantom((400, 420), circles=[(200, 190, 170, 150)], seed=4)
    assert detect_circles(huge.pixels, radius_px=(8, 300)).table["r_px"].tolist() == pytest.approx([170], abs=0.2)


def test_micrometres():
    phantom = draw_phantom((300, 420), circles=[(100, 120, 12, 200), (210, 110, 30, 200)], seed=4)
    found = detect_circles(phantom.pixels, radius_um=(10, 20), radius_px=(5, 6), pixel_size_um=(0.5, 0.501))
    assert found.pixel_size_um == 0.5005 and list(found.table.columns[-3:]) == ["x_um", "y_um", "r_um"]
    assert found.table["r_um"].tolist() == pytest.approx([15], abs=0.1)
    assert found.table["x_um"].to_numpy() == pytest.approx(found.table["x_px"].to_numpy() * 0.5005)
    assert list(detect_circles(phantom.pixels).table.columns) == COLUMNS
    settings = {"radius_px": (5.0, 6.0), "radius_um": (10.0, 20.0), "pixel_size_um": (0.5, 0.501), "strictness": 0.3,
                "polarity": "either"}  # fmt: skip
    assert found.settings == settings
    pd.testing.assert_frame_equal(detect_circles(phantom.pixels, **found.settings).table, found.table)


def test_strictness_only_takes_away(crowded):
    counts = [len(detect_circles(crowded.pixels, strictness=share)) for share in (0.2, 0.3, 0.5, 0.7, 0.9)]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1]
    table = detect_circles(crowded.pixels, strictness=0.5).table
    assert table["support"].min() >= 0.5 and table["support"].max() <= 1
    detect_circles(crowded.pixels, strictness=0)
    assert detect_circles(crowded.pixels, strictness=1).table["support"].tolist() in ([], [1.0], [1.0, 1.0])


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.zeros(5), r"pixels must be \(rows, columns\) or .* 1, 3 or 4 layers; got shape \(5,\)"),
        (np.zeros((5, 5, 2)), r"got shape \(5, 5, 2\)"),
        (np.zeros((0, 5)), r"got shape \(0, 5\)"),
        (np.zeros((20, 20), complex), "pixels must be real numbers; got complex128"),
        (np.array([["a"] * 20] * 20), "pixels must be real numbers; got <U1"),
    ],
)
def test_refused_images(pixels, words):
    with pytest.raises(ValueError, match=words):
        detect_circles(pixels)


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"radius_px": (80, 8)}, r"radius_px must be two numbers above 0, the smallest and the largest.*got \(80, 8\)"),
        ({"radius_px": 8}, "radius_px must be two numbers above 0"),
        ({"radius_px": (8, np.nan)}, "radius_px must be two numbers above 0"),
        ({"radius_px": "88"}, "radius_px must be two numbers above 0"),
        ({"radius_px": (1, 80)}, r"The smallest radius must be at least 3 px; got 1 px from radius_px = \(1, 80\)"),
        ({"radius_um": (1, 2)}, r"radius_um needs pixel_size_um to become pixels; got \(1, 2\)"),
        ({"radius_um": (1, 2), "pixel_size_um": 1}, "got 1 px from radius_um"),
        ({"pixel_size_um": 0}, "pixel_size_um must be a number above 0, or height and width; got 0"),
        ({"pixel_size_um": "x"}, "pixel_size_um must be a number above 0"),
        ({"pixel_size_um": (1, 1.1)}, r"pixel_size_um must have height and width that agree to 1 %.*got \(1, 1.1\)"),
        ({"strictness": 1.5}, "strictness must be a number from 0 to 1; got 1.5"),
        ({"strictness": np.nan}, "strictness must be a number from 0 to 1"),
        ({"strictness": "x"}, "strictness must be a number from 0 to 1; got 'x'"),
        ({"polarity": "up"}, "polarity must be either, bright or dark; got 'up'"),
    ],
)
def test_refused_settings(keywords, words):
    with pytest.raises(ValueError, match=words):
        detect_circles(np.zeros((20, 20)), **keywords)
