"""Drawn phantoms hold what their truth says."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.synthetic.circles import EXAMPLE_ACQUISITIONS, SUBJECTS, draw_acquisitions, draw_phantom

TRUTH = ["x", "y", "r", "nominal", "mean_in_disc", "ideal_mean", "visible", "inside"]


def test_pixels_hold_the_truth():
    circles = [(80.25, 60.5, 30, 200), (10, 100, 20, 150), (95, 75, 12.5, 90)]
    phantom = draw_phantom((120, 160), circles=circles, seed=1)
    truth, pixels = phantom.truth, phantom.pixels
    assert pixels.shape == (120, 160) and pixels.dtype == np.uint8 and list(truth.columns) == TRUTH
    assert truth[["x", "y", "r", "nominal"]].to_numpy().tolist() == [list(circle) for circle in circles]
    rows, columns = np.mgrid[:120, :160]
    discs = [np.hypot(rows - y, columns - x) <= r for x, y, r, _ in circles]
    for disc, told in zip(discs, truth.itertuples(), strict=True):
        assert told.mean_in_disc == pytest.approx(pixels[disc].mean())
        assert abs(told.mean_in_disc - told.ideal_mean) < 0.5
    assert truth["inside"].tolist() == pytest.approx([1, discs[1].sum() / (np.pi * 20**2), 1], abs=0.01)
    assert truth["visible"][0] == pytest.approx(1 - (discs[0] & discs[2]).sum() / discs[0].sum(), abs=0.005)
    assert truth["visible"][1:].tolist() == pytest.approx(truth["inside"][1:].tolist())
    # the area under the rim is that of the disc
    alone = draw_phantom((120, 160), circles=circles[:1], seed=1).pixels.astype(float)
    assert (alone.mean() - 12) * alone.size / 188 == pytest.approx(np.pi * 30**2, rel=0.005)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_distributions_are_those_asked_for(subject):
    truth = pd.concat([draw_phantom(level="clean", subject=SUBJECTS[subject], seed=k).truth for k in range(60)])
    radius, radius_sd, grey, grey_sd = SUBJECTS[subject]
    error = 4 / np.sqrt(len(truth))
    assert truth["r"].mean() == pytest.approx(radius, abs=error * radius_sd)
    assert truth["r"].std() == pytest.approx(radius_sd, rel=error)
    assert truth["nominal"].mean() == pytest.approx(grey, abs=error * grey_sd)
    assert truth["nominal"].std() == pytest.approx(grey_sd, rel=error) and truth["nominal"].max() <= 255


def test_levels():
    drawn = {level: [draw_phantom(level=level, seed=k) for k in range(12)] for level in ("clean", "noisy", "crowded")}
    truth = {level: pd.concat([one.truth for one in each]) for level, each in drawn.items()}
    assert truth["clean"]["visible"].min() == 1 == truth["clean"]["inside"].min()
    assert truth["noisy"]["inside"].min() < 0.95 and (truth["noisy"]["visible"] == truth["noisy"]["inside"]).all()
    hidden = truth["crowded"]["inside"] - truth["crowded"]["visible"]
    assert (hidden > 0.05).mean() > 0.2
    for level, noise, background in (("clean", 2, 12), ("crowded", 8, None), ("noisy", None, 25)):
        phantom = drawn[level][0]
        rows, columns = np.mgrid[: phantom.pixels.shape[0], : phantom.pixels.shape[1]]
        free = np.ones(phantom.pixels.shape, bool)
        for disc in phantom.truth.itertuples():
            free &= np.hypot(rows - disc.y, columns - disc.x) > disc.r + 2
        outside = np.where(free, phantom.pixels, np.nan)
        if background is not None:
            assert np.nanmedian(outside) == pytest.approx(background, abs=2)
        if noise is not None:
            assert np.nanstd(np.diff(outside, axis=1)) / np.sqrt(2) == pytest.approx(noise, rel=0.1)
    # half the mean contrast, cut at 0 and 255
    inside = drawn["noisy"][0].truth.iloc[0]
    assert abs(inside["mean_in_disc"] - inside["ideal_mean"]) < 40


def test_more_area_has_more_discs():
    counts = [len(draw_phantom(shape, subject=SUBJECTS["s2"], seed=1).truth) for shape in ((256, 256), (1024, 1024))]
    assert counts[1] > 6 * counts[0] >= 6
    assert draw_phantom((30, 40), seed=1).pixels.shape == (30, 40)
    assert draw_phantom((64, 90), circles=[], seed=1).truth.shape == (0, 8)


def test_the_same_seed_draws_the_same(tmp_path):
    first, again, other = (draw_phantom((90, 120), level="crowded", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.pixels, again.pixels) and not np.array_equal(first.pixels, other.pixels)
    pd.testing.assert_frame_equal(first.truth, again.truth)
    assert first.settings["seed"] == 3


def test_acquisitions(tmp_path):
    drawn = draw_acquisitions(tmp_path, dates=("20200101", "20200102"), experiments=("e1",), fields=2, shape=(150, 200),
                              level="noisy", seed=5)  # fmt: skip
    names = sorted(str(path.relative_to(tmp_path / "acquisitions")) for path in tmp_path.rglob("*.png"))
    assert names == [f"{date}/{subject}/e1/fov0{k}.png" for date in ("20200101", "20200102") for subject in ("s1", "s2")
                     for k in range(2)]  # fmt: skip
    truth = pd.read_csv(tmp_path / "truth.csv", dtype={"date": str})
    assert list(truth.columns) == ["level", "date", "subject", "experiment", "fov", "circle", *TRUTH]
    pd.testing.assert_frame_equal(truth, drawn.truth.round(4), check_dtype=False)
    last = drawn.files[-1]
    pixels = np.asarray(Image.open(last))
    discs = drawn.truth[(drawn.truth["date"] == "20200102") & (drawn.truth["subject"] == "s2")
                        & (drawn.truth["fov"] == "fov01")]  # fmt: skip
    rows, columns = np.mgrid[:150, :200]
    for disc in discs.itertuples():
        inside = np.hypot(rows - disc.y, columns - disc.x) <= disc.r
        assert pixels[inside].mean() == pytest.approx(disc.mean_in_disc)
    assert len({path.read_bytes() for path in drawn.files}) == len(drawn.files)


def test_more_fields_leave_the_others_as_they_are(tmp_path):
    options = {"dates": ("1",), "experiments": ("e1",), "shape": (80, 90), "seed": 2}
    one = draw_acquisitions(tmp_path / "one", fields=1, **options)
    two = draw_acquisitions(tmp_path / "two", fields=2, **options)
    kept = [path for path in two.files if path.name == "fov00.png"]
    assert [path.read_bytes() for path in one.files] == [path.read_bytes() for path in kept]


@pytest.mark.parametrize("fields", [0, -1])
def test_no_fields_are_refused(tmp_path, fields):
    with pytest.raises(ValueError, match="fields must be at least 1"):
        draw_acquisitions(tmp_path / "new", fields=fields)
    assert not (tmp_path / "new").exists()


def test_drift_makes_discs_darker(tmp_path):
    options = {"dates": ("1", "2"), "experiments": ("e1",), "fields": 3, "shape": (300, 300), "seed": 2}
    truth = draw_acquisitions(tmp_path, drift={"2": 0.5}, **options).truth
    means = truth.groupby(["subject", "date"])["nominal"].mean().unstack()
    assert (means["2"] / means["1"]).tolist() == pytest.approx([0.5, 0.5], abs=0.08)


def test_the_example_is_small():
    count = np.prod([len(EXAMPLE_ACQUISITIONS[name]) for name in ("dates", "subjects", "experiments")])
    assert count * EXAMPLE_ACQUISITIONS["fields"] == 64 and set(EXAMPLE_ACQUISITIONS["drift"]) <= set(
        EXAMPLE_ACQUISITIONS["dates"]
    )


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"level": "easy"}, "level must be clean, noisy or crowded; got 'easy'"),
        ({"shape": (0, 5)}, r"shape must be two whole numbers above 0, rows and columns; got \(0, 5\)"),
        ({"shape": (5, 5, 3)}, "shape must be two whole numbers"),
        ({"subject": (45, 5, 200)}, r"subject must be mean and standard deviation .*got \(45, 5, 200\)"),
        ({"subject": (-1, 5, 200, 20)}, "subject must be mean"),
        ({"circles": [(1, 2, 3)]}, "circles must be rows of x, y, r above 0 and grey value"),
        ({"circles": [(1, 2, -3, 9)]}, "circles must be rows"),
    ],
)
def test_refused(keywords, words):
    with pytest.raises(ValueError, match=words):
        draw_phantom(**{"shape": (50, 50), "seed": 1} | keywords)
