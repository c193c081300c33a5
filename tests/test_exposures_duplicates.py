"""Duplicates are found where they were drawn, by the radius that is asked for; exposures know what was shot before."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.exposures._duplicates import find_duplicates
from analysis.exposures._pairs import join_pairs, nearest_earlier, shared_share
from analysis.exposures._predose import measure_predose
from analysis.exposures._session import Session, make_table

START = pd.Timestamp("2026-01-01").value


class Fixed:
    """A calibration whose matrix is known."""

    def __init__(self, matrix=0.0, warning=""):
        self.matrix = np.asarray(matrix, dtype=float) * (np.eye(2) if np.ndim(matrix) == 0 else 1)
        self.warning = warning

    def positions(self, table):
        stage = table[["stage_x_um", "stage_y_um"]].to_numpy()
        return stage + table[["beam_shift_x", "beam_shift_y"]].to_numpy() @ self.matrix.T


def make_session(positions, **columns):
    """Exposures at places in um, one a minute, each of a hole of its own, in one grid square."""
    positions = np.asarray(positions, dtype=float).reshape(-1, 2)
    count = len(positions)
    drawn = {
        "name": [f"FoilHole_{i}_Data_1_1_20260101_{i:06d}" for i in range(count)],
        "grid_square": ["1"] * count,
        "foil_hole": [str(i) for i in range(count)],
        "area": ["1"] * count,
        "acquired": START + 60_000_000_000 * np.arange(count),
        "stage_x_um": positions[:, 0],
        "stage_y_um": positions[:, 1],
        "beam_shift_x": np.zeros(count),
        "beam_shift_y": np.zeros(count),
        "beam_diameter_um": np.ones(count),
        "dose_e_per_a2": np.full(count, 30.0),
    }
    drawn["file"] = [f"{name}.xml" for name in drawn["name"]]
    return Session(folder="", table=make_table(drawn | columns))


def find(positions, radius_um=None, keep="first", **columns):
    return find_duplicates(make_session(positions, **columns), Fixed(), radius_um=radius_um, keep=keep)


def read_reference(path, renamed):
    raw = pd.read_csv(path, dtype=dict.fromkeys(("gridsquare", "foilhole", "area"), str))
    per_unit = {"stage_x_um": 1e6, "stage_y_um": 1e6, "beam_diameter_um": 1e6, "dose_e_per_a2": 1e-20}
    columns = {name: raw[source] * per_unit.get(name, 1) for name, source in renamed.items()}
    columns |= {"pixel_size_angstrom": raw["pixel_m"] * 1e10} if "pixel_m" in raw else {}
    for name, source in (("xx", "m11"), ("xy", "m12"), ("yx", "m21"), ("yy", "m22")):
        columns |= {f"image_{name}_um": raw[source] * 1e6} if source in raw else {}
    columns["acquired"] = pd.to_datetime(raw["acq_time"], format="ISO8601", utc=True).dt.as_unit("ns").astype("int64")
    columns["file"] = raw["name"] + ".xml"
    columns |= {"field_width_px": np.full(len(raw), 4096.0), "field_height_px": np.full(len(raw), 4096.0)}
    return Session(folder=path.parent, table=make_table(columns)), raw


RENAMED = {
    "name": "name", "grid_square": "gridsquare", "foil_hole": "foilhole", "area": "area",
    "stage_x_um": "stage_x_m", "stage_y_um": "stage_y_m", "beam_shift_x": "beamshift_x", "beam_shift_y": "beamshift_y",
    "beam_diameter_um": "beam_diameter_m", "dose_e_per_a2": "dose_e_per_m2",
}  # fmt: skip


def read_matrix(path):
    return json.loads(path.read_text().splitlines()[1])


# ------------------------------------------------------------------------------------------------ what others found


@pytest.mark.reference
@pytest.mark.parametrize("radius_um", [0.2, 0.5])
def test_scalar_calibration_gives_the_files_of_the_original(reference, radius_um):
    folder = reference / "exposures" / "real"
    session, _ = read_reference(folder / "exposures.csv", RENAMED)
    found = find_duplicates(session, Fixed(24.07), radius_um=radius_um)
    listed = (folder / f"original_k24p07_r{str(radius_um).replace('.', 'p')}_badfiles_tiff.txt").read_text().split()
    assert set(found.bad) == {name.removesuffix("_fractions.tiff") for name in listed}
    assert len(found.bad) == len(set(found.bad))


@pytest.mark.reference
def test_real_session_has_no_duplicates_once_the_matrix_is_right(reference):
    folder = reference / "exposures" / "real"
    session, _ = read_reference(folder / "exposures.csv", RENAMED)
    matrix = [[21.715549411216315, 10.97622816267807], [10.97622816267807, -21.715549411216315]]
    found = find_duplicates(session, Fixed(matrix), radius_um=0.6)
    assert (len(found.exposures), found.bad) == (189, [])
    # one k for both axes, as find_dupl takes it
    assert len(find_duplicates(session, Fixed(24.07), radius_um=0.5).bad) == 22
    assert measure_predose(session, Fixed(matrix)).table["share_exposed"].max() <= 0.008
    assert (measure_predose(session, Fixed(24.07)).table["share_exposed"] > 0.5).sum() == 14


@pytest.mark.reference
@pytest.mark.parametrize("radius_um", [0.2, 0.4, 0.5])
@pytest.mark.parametrize("kind", ["rotated", "aligned"])
def test_planted_duplicates_and_their_causes(reference, kind, radius_um):
    folder = reference / "exposures" / f"synthetic_{kind}"
    session, truth = read_reference(folder / "truth.csv", RENAMED)
    found = find_duplicates(session, Fixed(read_matrix(folder / "truth_calibration.txt")), radius_um=radius_um)
    assert set(found.bad) == set((folder / f"truth_bad_r{radius_um}.txt").read_text().split())
    causes = truth.set_index("name")["kind"].map(
        {
            "hole_reexposed": "re-exposed hole",
            "triple": "re-exposed hole",
            "missed_stage_move": "missed stage move",
            "partial": "partial overlap",
        }
    )
    members = found.table[found.table["bad"]].set_index("name")
    assert members["cause"].to_dict() == causes[members.index].to_dict()
    assert members["first_exposure"].to_dict() == truth.set_index("name")["first_exposure"][members.index].to_dict()
    planted = pd.read_csv(folder / f"truth_pairs_r{radius_um}.csv")
    assert set(zip(found.pairs["first_name"], found.pairs["second_name"], strict=True)) == set(
        zip(planted["first"], planted["second"], strict=True)
    )


# ------------------------------------------------------------------------------------------------------------ groups


def test_chain_is_one_group_and_each_rule_keeps_its_own():
    places = [(0, 0), (1, 0), (2, 0), (9, 9), (9, 9.5)]
    found = find(places, 1.0)
    assert found.exposures["group"].tolist() == [0, 0, 0, 1, 1]
    assert found.exposures["bad"].tolist() == [False, True, True, False, True]
    # the middle one came last: both ends saw nothing before them
    late = [(0, 0), (2, 0), (1, 0)]
    assert find(late, 1.0).exposures["bad"].tolist() == [False, True, True]
    assert find(late, 1.0, "unexposed").exposures["bad"].tolist() == [False, False, True]
    assert find(late, 1.0, "none").exposures["bad"].tolist() == [True, True, True]
    assert find(late, 1.0).table["distance_um"].tolist()[1:] == [2.0, 1.0]


def test_table_says_what_each_member_repeats():
    found = find([(0, 0), (5, 5), (0.3, 0), (0.1, 0)], 0.4)
    assert found.table["name"].tolist() == [found.exposures["name"][i] for i in (0, 2, 3)]
    assert found.table["first_exposure"].tolist() == ["", found.exposures["name"][0], found.exposures["name"][0]]
    np.testing.assert_allclose(found.table["distance_um"], [np.nan, 0.3, 0.1])
    np.testing.assert_allclose(found.table["overlap"][1], shared_share(0.3, 1, 1))
    assert found.table["cause"].tolist() == ["", "partial overlap", "re-exposed hole"]
    assert found.pairs[["first", "second"]].to_numpy().tolist() == [[0, 2], [0, 3], [2, 3]]
    assert found.pairs["minutes_between"].tolist() == [2.0, 3.0, 1.0]
    np.testing.assert_allclose(found.pairs["stage_moved_um"], [0.3, 0.1, 0.2])
    assert found.summary()["causes"]["partial overlap"] == 1


def test_causes():
    def cause(**columns):
        shift = columns.pop("shift", 0.0)
        columns |= {"beam_shift_x": [0.0, shift]}
        return find_duplicates(make_session([(0, 0), columns.pop("to", (0, 0))], **columns), Fixed(1.0)).table["cause"][
            1
        ]

    assert cause(foil_hole=["7", "7"]) == "repeated shot"
    assert cause(foil_hole=["7", "7"], area=["1", "2"]) == "re-exposed hole"
    assert cause(foil_hole=["", ""], area=["", ""]) == "missed stage move"
    assert cause() == "missed stage move"
    assert cause(to=(4, 0), shift=-3.9) == "re-exposed hole"
    assert cause(to=(4, 0), shift=-3.7) == "partial overlap"
    assert cause(shift=0.3) == "partial overlap"


def test_same_foil_picture_is_a_missed_move():
    asked = []

    def foil_likeness(first, second):
        asked.append((first, second))
        return 0.9

    session = make_session([(0, 0), (0.4, 0), (0.41, 0)], foil_hole=["1", "2", "2"], area=["1", "1", "2"])
    found = find_duplicates(session, Fixed(), radius_um=0.45, images=SimpleNamespace(foil_likeness=foil_likeness))
    assert found.table["cause"].tolist() == ["", "missed stage move", "missed stage move"]
    files = session.exposures["file"]
    assert asked == [(files[0], files[1]), (files[0], files[2])]
    np.testing.assert_allclose(found.pairs["foil_likeness"], [0.9, 0.9, np.nan])


def test_sessions_are_apart_and_copies_are_one():
    assert find([(0, 0), (0, 0)], 1.0, session=["a", "b"]).bad == []
    copied = find([(0, 0), (0, 0), (3, 3)], 1.0, name=["x", "x", "y"], acquired=[START, START, START + 1])
    assert (copied.bad, len(copied.exposures)) == ([], 2)
    assert "1 copies of files" in copied.warnings[0]


def test_squares_and_diameters():
    found = find(
        [(0, 0), (0, 0.01), (5, 5), (9, 9)],
        0.1,
        grid_square=["1", "1", "1", "2"],
        beam_diameter_um=[0.95, 0.95, np.nan, 2],
    )
    assert found.squares.to_numpy().tolist() == [["", "1", 3, 1, 100 / 3], ["", "2", 1, 0, 0.0]]
    assert found.beam_diameters["exposures"].tolist() == [2, 1, 1]
    assert found.beam_diameters["beam_diameter_um"].isna().tolist() == [False, False, True]


def test_radius_of_the_most_frequent_beam():
    found = find([(0, 0), (0.4, 0), (5, 5)], beam_diameter_um=[0.95, 9.499999999999999e-07 * 1e6, 2])
    assert found.radius_um == pytest.approx(0.4275)
    assert found.radius_source == "0.45 x the beam diameter 0.95 um of 2 of 3 exposures"
    assert len(found.bad) == 1
    unknown = find([(0, 0), (0.4, 0)], 0.45, beam_diameter_um=[np.nan, np.nan])
    assert unknown.table["cause"][1] == "partial overlap"
    assert np.isnan(unknown.table["overlap"][1])


def test_nothing_found_and_nothing_there():
    for places in ([(0, 0), (9, 9)], [(0, 0)], []):
        found = find(places, 0.5)
        assert (found.bad, len(found.table), len(found.pairs)) == ([], 0, 0)
        assert found.summary()["bad"] == found.summary()["groups"] == 0
    assert np.isnan(find([]).radius_um)


def test_warnings_of_many_bad_and_of_the_calibration():
    found = find_duplicates(make_session([(0, 0)] * 4), Fixed(warning="Margin is small."), radius_um=0.1)
    assert found.warnings[0] == "Margin is small."
    assert found.warnings[1].startswith("3 of 4 exposures are bad.")


@pytest.mark.parametrize("radius_um", [0, -1, np.nan, np.inf, "0.2", True])
def test_radius_is_refused(radius_um):
    with pytest.raises(ValueError, match="radius_um must be a number of micrometres above 0"):
        find([(0, 0)], radius_um)


def test_other_refusals():
    with pytest.raises(ValueError, match="keep must be first, unexposed or none; got 'all'"):
        find([(0, 0)], 1.0, "all")
    with pytest.raises(ValueError, match="radius_um must be given"):
        find([(0, 0)], beam_diameter_um=[np.nan])
    with pytest.raises(ValueError, match="at most 5,000,000 pairs; 3 um gives 7,998,000 among 4,000 exposures"):
        find(np.zeros((4000, 2)), 3)


# -------------------------------------------------------------------------------------------------------- invariances

PLACES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=25)
RADII = st.sampled_from([0.5, 1.2, 1.7, 2.1, 3.4])
"""No two points of the grid of whole numbers are at such a distance."""


@settings(max_examples=40, deadline=None)
@given(PLACES, RADII, st.sampled_from(["first", "unexposed", "none"]), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(places, radius_um, keep, random):
    session = make_session(places)
    shuffled = list(range(len(places)))
    random.shuffle(shuffled)
    again = Session(folder="", table=session.table.iloc[shuffled].reset_index(drop=True))
    found, other = (find_duplicates(s, Fixed(), radius_um=radius_um, keep=keep) for s in (session, again))
    for name in ("exposures", "table", "squares", "pairs"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(other, name))


@settings(max_examples=40, deadline=None)
@given(PLACES, RADII, st.floats(0, 360), st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)))
def test_moving_the_stage_changes_nothing(places, radius_um, angle_deg, shift):
    turn = np.exp(1j * np.radians(angle_deg))
    moved = np.array([turn * complex(*place) + complex(*shift) for place in places])
    found, other = find(places, radius_um), find(np.column_stack([moved.real, moved.imag]), radius_um)
    assert found.exposures["group"].tolist() == other.exposures["group"].tolist()
    assert found.bad == other.bad
    np.testing.assert_allclose(found.table["distance_um"], other.table["distance_um"], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(PLACES, RADII)
def test_groups_are_those_of_the_plain_definition(places, radius_um):
    found = find(places, radius_um)
    places = np.array(places, dtype=float)
    near = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1)) <= radius_um
    reached = near.copy()
    for _ in places:
        reached = reached @ near
    expected = [tuple(np.flatnonzero(row)) for row in reached]
    groups = found.exposures["group"]
    for row, members in enumerate(expected):
        mates = tuple(np.flatnonzero(groups == groups[row])) if groups[row] >= 0 else (row,)
        assert mates == members
        assert bool(found.exposures["bad"][row]) == (members[0] != row)
    members = found.table["name"]
    assert len(found.bad) + (found.table["cause"] == "").sum() + (groups < 0).sum() == len(places)
    assert set(members) == set(found.exposures["name"][groups >= 0])
    assert groups[groups >= 0].drop_duplicates().is_monotonic_increasing


@settings(max_examples=40, deadline=None)
@given(PLACES, RADII, st.floats(1, 3))
def test_larger_radius_never_makes_fewer_bad(places, radius_um, factor):
    small, large = (find(places, radius, "unexposed") for radius in (radius_um, radius_um * factor))
    assert set(small.bad) <= set(large.bad)


@settings(max_examples=40, deadline=None)
@given(PLACES, RADII)
def test_nearest_earlier_member(places, radius_um):
    found = find(places, radius_um)
    points = np.array(places, dtype=float)
    for row, group in enumerate(found.exposures["group"]):
        before = [i for i in range(row) if group >= 0 and found.exposures["group"][i] == group]
        member = found.table[found.table["name"] == found.exposures["name"][row]]
        expected = min((np.hypot(*(points[i] - points[row])) for i in before), default=np.nan)
        assert member["distance_um"].tolist() == ([] if group < 0 else [pytest.approx(expected, nan_ok=True)])


def test_many_late_joins_are_resolved():
    """A comb whose teeth come first and whose spine, joining them all, comes last."""
    teeth = np.column_stack([np.arange(400) * 2.0, np.zeros(400)])
    places = np.vstack([np.random.default_rng(0).permutation(teeth), teeth + np.array([1.0, 0])])
    pairs = np.array([(i, j) for j in range(400, 800) for i in range(j) if abs(places[i, 0] - places[j, 0]) <= 1])
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    distances = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T)
    groups = join_pairs(pairs, 800)
    assert set(groups) == {0}
    nearest, shortest = nearest_earlier(places, groups, pairs, distances)
    assert (nearest == -1).sum() == 1
    for row in range(1, 400):
        assert shortest[row] == np.abs(places[:row, 0] - places[row, 0]).min()


@pytest.mark.parametrize(
    ("distance", "earlier", "later"), [(0.3, 1, 1), (0.3, 0.8, 1), (0.05, 0.8, 1), (0.05, 1, 0.8), (1, 1, 1)]
)
def test_shared_share_of_discs(distance, earlier, later):
    across = (np.arange(2000) + 0.5) / 2000 - 0.5
    x, y = later * across[:, None], later * across
    inside = x**2 + y**2 <= (later / 2) ** 2
    both = inside & ((x - distance) ** 2 + y**2 <= (earlier / 2) ** 2)
    assert shared_share(distance, earlier, later) == pytest.approx(both.sum() / inside.sum(), abs=2e-4)


def test_shared_share_of_unknown_diameter():
    assert np.isnan(shared_share(np.array([0.1]), np.array([np.nan]), np.array([1.0])))[0]
    assert shared_share(0.0, 1.0, 1.0) == 1


# ----------------------------------------------------------------------------------------------------------- pre-dose


def measured(positions, field="camera", **columns):
    count = len(positions)
    columns = {
        "pixel_size_angstrom": np.ones(count),
        "field_width_px": np.full(count, 6000.0),
        "field_height_px": np.full(count, 4000.0),
    } | columns
    return measure_predose(make_session(positions, **columns), Fixed(), field=field)


def test_dose_of_earlier_discs_only():
    found = measured([(0, 0), (0, 0), (0.02, 0), (50, 0)]).table
    assert found["share_exposed"].tolist() == [0, 1, 1, 0]
    assert found["predose_e_per_a2"].tolist() == [0, 30, 60, 0]
    assert found["highest_e_per_a2"].tolist() == [0, 30, 60, 0]
    assert found["earlier_exposures"].tolist() == [0, 1, 2, 0]
    between = measured([(0, 0), (50, 0), (0, 0), (50, 0), (0, 0)]).table
    assert between["predose_e_per_a2"].tolist() == [0, 0, 30, 30, 60]
    assert measured([(0, 0), (0, 0)], session=["a", "b"]).table["share_exposed"].tolist() == [0, 0]


@pytest.mark.parametrize("angle_deg", [0, 30, 90])
def test_field_is_turned_as_the_image_matrix_says(angle_deg):
    """The edge of a large disc cuts the field along a line at a known share of its width."""
    turn = np.radians(angle_deg)
    along = np.array([np.cos(turn), np.sin(turn)])  # where the image's columns run to
    pixel_um = 1e-4
    matrix = {"image_xx_um": along[0], "image_xy_um": along[1], "image_yx_um": -along[1], "image_yy_um": along[0]}
    # the disc ends a quarter of the width right of the field's middle
    places = [along * (0.15 - 500), (0, 0)]
    found = measured(
        places,
        beam_diameter_um=np.full(2, 1000.0),
        **{name: np.full(2, value * pixel_um) for name, value in matrix.items()},
    )
    assert found.table["share_exposed"][1] == pytest.approx(0.75, abs=0.011)
    assert found.table["predose_e_per_a2"][1] == pytest.approx(22.5, abs=0.35)


def test_field_of_the_beam_is_its_disc():
    rng = np.random.default_rng(1)
    distances, diameters = rng.uniform(0, 1, 60), rng.uniform(0.6, 1.4, (60, 2))
    places = np.array([[(20.0 * i, 0), (20.0 * i + d, 0)] for i, d in enumerate(distances)]).reshape(-1, 2)
    found = measured(places, "beam", beam_diameter_um=diameters.ravel()).table["share_exposed"][1::2]
    np.testing.assert_allclose(found, shared_share(distances, *diameters.T), atol=0.005)


def test_share_of_the_camera_is_as_right_as_it_says():
    rng = np.random.default_rng(2)
    places = np.zeros((80, 2))
    places[::2] = rng.uniform(-0.6, 0.6, (40, 2))
    places += np.repeat(np.arange(40) * 30.0, 2)[:, None]
    found = measured(places).table["share_exposed"][1::2]
    fine_x, fine_y = np.meshgrid((np.arange(1200) + 0.5) / 2000 - 0.3, (np.arange(800) + 0.5) / 2000 - 0.2)
    for share, (x, y) in zip(found, places[::2] - places[1::2], strict=True):
        assert share == pytest.approx(((fine_x - x) ** 2 + (fine_y - y) ** 2 <= 0.25).mean(), abs=0.005)


def test_unknown_sizes_and_doses():
    found = measured([(0, 0)] * 3, field_width_px=[6000, np.nan, 6000], dose_e_per_a2=[30, np.nan, 30]).table
    np.testing.assert_array_equal(found["share_exposed"], [0, np.nan, 1])
    np.testing.assert_array_equal(found["predose_e_per_a2"], [0, np.nan, np.nan])
    with pytest.raises(ValueError, match="pixel_size_angstrom, field_width_px and field_height_px must be known"):
        measured([(0, 0)] * 2, pixel_size_angstrom=[np.nan] * 2)
    with pytest.raises(ValueError, match="beam_diameter_um must be known"):
        measured([(0, 0)] * 2, beam_diameter_um=[np.nan] * 2)
    with pytest.raises(ValueError, match="field must be camera or beam; got 'all'"):
        measured([(0, 0)], "all")
    with pytest.raises(ValueError, match="reach of the beam must give at most 5,000,000 pairs"):
        measured(np.zeros((4000, 2)))
    assert len(measured(np.empty((0, 2))).table) == 0
    assert measured([(0, 0)] * 2).summary()["half_exposed"] == 1
