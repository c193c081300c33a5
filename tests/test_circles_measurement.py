"""Intensities of drawn discs are what the truth says."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.circles import Circles, detect_circles, measure_circles
from analysis.synthetic.circles import SUBJECTS, draw_phantom

MEASURED = ["mean", "median", "std", "background", "area_px", "integrated"]


def circles_at(places, shape):
    table = pd.DataFrame(places, columns=["x_px", "y_px", "r_px"], dtype=float)
    return Circles(table, shape)


@pytest.mark.parametrize(("level", "most"), [("clean", 0.05), ("noisy", 0.5), ("crowded", 0.3)])
def test_detected_discs_have_the_mean_of_the_truth(level, most):
    errors = []
    for seed in range(6):
        phantom = draw_phantom(level=level, subject=SUBJECTS["s1"], seed=seed)
        table = measure_circles(phantom.pixels, detect_circles(phantom.pixels)).table
        truth = phantom.truth[(phantom.truth["visible"] >= 0.5) & (phantom.truth["inside"] >= 0.6)]
        for disc in truth.itertuples():
            distance = np.hypot(table["x_px"] - disc.x, table["y_px"] - disc.y)
            if distance.min() < 2:
                errors.append(abs(table["mean"][distance.idxmin()] - disc.mean_in_disc))
    assert len(errors) > 20 and np.mean(errors) < most


def test_true_places_give_exactly_the_truth():
    phantom = draw_phantom((300, 300), level="crowded", subject=SUBJECTS["s2"], seed=8)
    truth = phantom.truth
    table = measure_circles(phantom.pixels, circles_at(truth[["x", "y", "r"]].to_numpy(), (300, 300))).table
    assert table["mean"].to_numpy() == pytest.approx(truth["mean_in_disc"].to_numpy(), abs=1e-9)
    # against whole masks of the frame
    rows, columns = np.mgrid[:300, :300]
    for disc, row in zip(truth.itertuples(), table.itertuples(), strict=True):
        inside = phantom.pixels[np.hypot(rows - disc.y, columns - disc.x) <= disc.r].astype(float)
        assert (row.median, row.std) == pytest.approx((np.median(inside), inside.std()))
        assert row.area_px == len(inside)
        assert row.integrated == pytest.approx((inside - row.background).sum())


def test_background_leaves_other_discs_out():
    circles = [(100, 100, 30, 200), (150, 100, 18, 250), (60, 65, 20, 250), (250, 100, 30, 200)]
    phantom = draw_phantom((200, 300), circles=circles, seed=1)
    table = measure_circles(phantom.pixels, detect_circles(phantom.pixels)).table
    assert len(table) == 4
    assert table["background"].to_numpy() == pytest.approx([12] * 4, abs=0.5)
    alone = measure_circles(phantom.pixels, circles_at([(100, 100, 30)], (200, 300))).table
    assert alone["background"][0] >= 12


def test_columns_follow_the_others_and_rows_stay():
    phantom = draw_phantom((200, 260), circles=[(80, 90, 30, 200), (190, 90, 20, 90)], seed=1)
    found = detect_circles(phantom.pixels, pixel_size_um=0.5)
    measured = measure_circles(phantom.pixels, found)
    assert list(measured.table.columns) == [*found.table.columns, *MEASURED]
    pd.testing.assert_frame_equal(measured.table[found.table.columns], found.table)
    assert (measured.shape, measured.settings, measured.pixel_size_um) == (found.shape, found.settings, 0.5)
    again = measure_circles(phantom.pixels, measured)
    pd.testing.assert_frame_equal(again.table, measured.table)
    assert measured.summary()["median_of_means"] == measured.table["mean"].median()


def test_no_discs():
    blank = np.full((100, 120), 7, np.uint8)
    measured = measure_circles(blank, detect_circles(blank))
    assert len(measured) == 0 and list(measured.table.columns[-6:]) == MEASURED
    assert measured.table["mean"].dtype == float and measured.summary()["median_of_means"] is None


def test_frame_and_unknown_pixels():
    pixels = np.full((60, 80), 50.0)
    pixels[:, :20] = 10
    table = measure_circles(pixels, circles_at([(0, 30, 15), (79, 59, 10), (-30, -30, 5)], (60, 80))).table
    rows, columns = np.mgrid[:60, :80]
    assert table["area_px"][0] == (np.hypot(rows - 30, columns) <= 15).sum()
    assert table["mean"][:2].tolist() == [10, 50]
    assert table["area_px"][2] == 0 and table.loc[2, ["mean", "median", "std", "integrated"]].isna().all()
    pixels[30, 0] = np.nan
    holed = measure_circles(pixels, circles_at([(0, 30, 15)], (60, 80))).table
    assert holed["area_px"][0] == table["area_px"][0] - 1 and holed["mean"][0] == 10
    nothing = measure_circles(np.full((60, 80), np.nan), circles_at([(0, 30, 15)], (60, 80))).table
    assert nothing["area_px"][0] == 0 and nothing[["mean", "background"]].isna().all(axis=None)


def test_number_types():
    phantom = draw_phantom((120, 160), circles=[(80, 60, 30, 200)], seed=1)
    found = detect_circles(phantom.pixels)
    table = measure_circles(phantom.pixels, found).table
    for factor, dtype in ((257, np.uint16), (-3, np.int32), (1e-3, np.float64)):
        scaled = measure_circles((phantom.pixels.astype(float) * factor).astype(dtype), found).table
        for name in ("mean", "median", "background", "integrated"):
            assert scaled[name][0] == pytest.approx(factor * table[name][0])
        assert scaled["std"][0] == pytest.approx(abs(factor) * table["std"][0])
    colour = measure_circles(np.repeat(phantom.pixels[..., None], 3, axis=2), found).table
    pd.testing.assert_frame_equal(colour, table)


def test_refused():
    found = detect_circles(np.zeros((20, 30)))
    with pytest.raises(ValueError, match=r"pixels must have the shape .*\(20, 30\); got \(30, 20\)"):
        measure_circles(np.zeros((30, 20)), found)
    assert dataclasses.is_dataclass(found)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.shape = (1, 1)
