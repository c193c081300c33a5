"""What a unit of beam shift is on the stage: drawn sessions asked back, a real one, and what cannot be known."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.exposures import (
    Session,
    assign_optics_groups,
    assume_beam_shift,
    calibrate_beam_shift,
    cluster_beam_shifts,
    read_epu_session,
)
from analysis.exposures._calibration import SAFE_MARGIN, count_groups
from analysis.exposures._clusters import find_neighbours, scalar_k
from analysis.exposures._lattice import beam_shift_lattice, hole_terms, reduce_basis
from analysis.synthetic.exposures import draw_exposures
from analysis.tasks import Cancelled

SPACINGS = (2.5, 3.0, 4.0, 6.0)


def any_session(seed: int, *, compensated: bool = True):
    """A session of any geometry; all of it follows from the seed."""
    draw = np.random.default_rng(seed)
    return draw_exposures(
        grid_squares=int(draw.integers(1, 3)),
        stage_positions=int(draw.integers(8, 15)),
        groups=int(draw.integers(5, 38)),
        shots=int(draw.integers(1, 9)),
        k_um_per_unit=float(draw.uniform(22, 28)),
        angle_deg=float(draw.uniform(-180, 180)),
        mirrored=bool(draw.integers(2)),
        hole_spacing_um=float(draw.choice(SPACINGS)),
        stage_noise_um=float(draw.uniform(0.1, 0.3)),
        compensated=compensated,
        re_exposed_holes=int(draw.integers(0, 4)),
        seed=seed,
    )


def is_right(calibration, drawn) -> bool:
    """Within 3 % of the true matrix: the next orientation is tens of percent away."""
    return np.linalg.norm(calibration.matrix - drawn.matrix) < 0.03 * np.linalg.norm(drawn.matrix)


@pytest.fixture(scope="module")
def sweep():
    """A hundred sessions where the beam shift makes up for the stage, each with its calibration."""
    drawn = [any_session(seed) for seed in range(100)]
    return [(one, calibrate_beam_shift(one.session)) for one in drawn]


def test_orientation_is_found_in_a_hundred_sessions(sweep):
    right = [is_right(calibration, drawn) for drawn, calibration in sweep]
    assert sum(right) >= 98
    wrong_but_sure = [calibration for (_, calibration), ok in zip(sweep, right, strict=True)
                      if not ok and calibration.margin >= SAFE_MARGIN]  # fmt: skip
    assert not wrong_but_sure


def test_k_is_right_to_a_fifth_of_a_percent(sweep):
    errors = [abs(calibration.k_um_per_unit / drawn.k_um_per_unit - 1) for drawn, calibration in sweep]
    assert np.median(errors) < 0.002


def test_groups_are_counted_right(sweep):
    right = [calibration.groups == drawn.groups for drawn, calibration in sweep]
    assert sum(right) >= 98


def test_a_spacing_that_is_given_makes_it_surer():
    drawn = any_session(3)
    free = calibrate_beam_shift(drawn.session)
    told = calibrate_beam_shift(drawn.session, hole_spacing_um=drawn.hole_spacing_um)
    assert is_right(told, drawn)
    assert told.margin >= free.margin - 0.5
    assert abs(told.table["k_um_per_unit"] / drawn.k_um_per_unit - 1).max() < 0.12


def test_what_cannot_be_known_is_said():
    """Without the beam shift making up for the stage, turned lattices fit alike: never silently wrong."""
    found = [(drawn, calibrate_beam_shift(drawn.session)) for drawn in (any_session(seed, compensated=False)
                                                                        for seed in range(20))]  # fmt: skip
    wrong = [calibration for drawn, calibration in found if not is_right(calibration, drawn)]
    assert wrong
    assert all(calibration.margin < SAFE_MARGIN and "not certain" in calibration.warning for calibration in wrong)


def test_holes_lie_on_the_lattice_and_areas_around_the_hole():
    drawn = draw_exposures(groups=9, shots=3, hole_noise_um=0.0, stage_noise_um=0.2, seed=5)
    calibration = calibrate_beam_shift(drawn.session)
    assert calibration.residual_um < 0.02
    assert calibration.hole_spacing_um == pytest.approx(2.5, rel=0.002)
    assert calibration.collisions == 0
    truth = drawn.truth.set_index("name").loc[drawn.session.exposures["name"], ["x_um", "y_um"]]
    assert np.hypot(*(calibration.positions(drawn.session.exposures) - truth.to_numpy()).T).max() < 0.05
    areas = calibration.areas
    assert len(areas) == 3
    assert np.abs(areas[["x_um", "y_um"]].mean()).max() < 0.01
    assert np.hypot(areas["x_um"], areas["y_um"]).to_numpy() == pytest.approx(0.45, abs=0.01)


def test_the_sum_of_hole_and_area_gives_the_beam_shift():
    drawn = draw_exposures(groups=5, shots=4, seed=2)
    exposures = drawn.session.exposures
    # a hole left unfinished, as when a session is stopped
    terms = hole_terms(exposures.drop(index=[1, 6, 7]).reset_index(drop=True))
    assert terms.residual < 3e-4  # the stage jitters by nanometres between shots, and the beam shift follows
    assert np.abs(np.average(terms.areas[["beam_shift_x", "beam_shift_y"]], axis=0,
                             weights=terms.areas["exposures"])).max() < 1e-10  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(turn=st.floats(-180, 180), move=st.floats(-500, 500), seed=st.integers(0, 4))
def test_turning_and_moving_the_stage_turns_the_matrix(turn, move, seed):
    drawn = draw_exposures(groups=9, shots=1, stage_positions=8, seed=seed)
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    table = drawn.session.table.copy()
    table[["stage_x_um", "stage_y_um"]] = table[["stage_x_um", "stage_y_um"]].to_numpy() @ rotation.T + move
    turned = calibrate_beam_shift(Session(folder=drawn.session.folder, table=table), hole_spacing_um=2.5)
    straight = calibrate_beam_shift(drawn.session, hole_spacing_um=2.5)
    assert np.allclose(turned.matrix, rotation @ straight.matrix, atol=0.02)
    assert turned.residual_um == pytest.approx(straight.residual_um, rel=0.02)


def test_order_of_rows_changes_nothing():
    drawn = draw_exposures(groups=9, shots=2, seed=1)
    shuffled = drawn.session.table.sample(frac=1, random_state=0).reset_index(drop=True)
    one = calibrate_beam_shift(drawn.session)
    other = calibrate_beam_shift(Session(folder=drawn.session.folder, table=shuffled))
    assert np.array_equal(one.matrix, other.matrix)
    pd.testing.assert_frame_equal(one.holes, other.holes)


def test_a_scalar_is_judged_by_the_lattice():
    drawn = draw_exposures(groups=9, stage_positions=12, seed=4)
    fitted = calibrate_beam_shift(drawn.session)
    scalar = assume_beam_shift(drawn.session, drawn.k_um_per_unit)
    assert scalar.method == "scalar"
    assert np.isnan(scalar.margin)
    assert scalar.residual_um > 3 * fitted.residual_um
    given = assume_beam_shift(drawn.session, fitted.matrix)
    assert given.residual_um == pytest.approx(fitted.residual_um, rel=1e-6)
    assert given.method == "matrix"


@pytest.mark.parametrize("wrong", [0, np.nan, [[1, 2], [2, 4]], [1, 2, 3]])
def test_a_matrix_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match="matrix must be a number or 2 x 2"):
        assume_beam_shift(draw_exposures().session, wrong)


def test_one_stage_position_is_refused_with_the_cure():
    session = draw_exposures(grid_squares=1, stage_positions=1).session
    with pytest.raises(ValueError, match=r"two or more stage positions in one grid square.*by hand"):
        calibrate_beam_shift(session)


def test_beam_shift_without_holes_is_refused_with_the_cure():
    session = draw_exposures(groups=1, stage_positions=12).session
    with pytest.raises(ValueError, match="two or more foil holes reached from one stage position"):
        calibrate_beam_shift(session)
    by_hand = assume_beam_shift(session, 24.3)
    assert np.isnan(by_hand.residual_um)
    assert "two or more foil holes" in by_hand.warning
    assert np.isfinite(by_hand.positions(session.exposures)).all()


def test_no_exposures_are_refused():
    session = draw_exposures().session
    empty = Session(folder=session.folder, table=session.table.iloc[:0])
    for act in (calibrate_beam_shift, lambda s: assume_beam_shift(s, 24.0), cluster_beam_shifts):
        with pytest.raises(ValueError, match="must have exposures that can be read"):
            act(empty)


@pytest.mark.parametrize("spacing", [1e-6, 0, -1, 1000, np.nan])
def test_a_spacing_of_no_foil_is_refused(spacing):
    with pytest.raises(ValueError, match=r"hole_spacing_um must be a number from 0\.2 to 50"):
        calibrate_beam_shift(draw_exposures().session, hole_spacing_um=spacing)


def test_it_can_be_stopped():
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        calibrate_beam_shift(draw_exposures().session, cancel=stop)


def test_it_can_be_stopped_while_it_fits():
    stop = threading.Event()
    with pytest.raises(Cancelled):
        calibrate_beam_shift(draw_exposures().session, cancel=stop, hole_spacing_um=2.5,
                             progress=lambda done, total, words: stop.set() if done >= 1 else None)  # fmt: skip


def test_another_spacing_in_epu_is_said():
    drawn = draw_exposures(groups=9, seed=3)
    sessions = pd.DataFrame([{"session": "", "exposures": len(drawn.session), "unreadable": 0, "hole_spacing_um": 3.6,
                              "hole_size_um": 1.2, "clustering_mode": ""}])  # fmt: skip
    told = Session(folder=drawn.session.folder, table=drawn.session.table, sessions=sessions)
    assert "EPU was told a hole spacing of 3.60 um" in calibrate_beam_shift(told).warning


# ---- what a facility may bring ---------------------------------------------------------------------------------


def changed(drawn, *, bend=None, session="", keep=1.0):
    """Return a drawn session with its places bent, under another session's name, or with a share of its holes."""
    table = drawn.session.table.copy()
    if bend is not None:
        of_shift = np.linalg.inv(drawn.matrix) @ bend @ drawn.matrix
        for names, matrix in ((["stage_x_um", "stage_y_um"], bend), (["beam_shift_x", "beam_shift_y"], of_shift)):
            table[names] = table[names].to_numpy() @ np.transpose(matrix)
    holes = table["foil_hole"].unique()
    kept = np.random.default_rng(0).permutation(holes)[: round(keep * len(holes))]
    return table[table["foil_hole"].isin(kept)].assign(session=session).reset_index(drop=True)


@pytest.mark.parametrize("seed", range(4))
def test_holes_in_one_row_of_a_hexagonal_foil_are_right(seed):
    drawn = draw_exposures(groups=2, stage_positions=14, grid_squares=3, lattice_angle_deg=20.0, seed=seed)
    turn = np.radians(20.0)
    along = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hexagonal = along @ np.array([[1, 0.5], [0, np.sqrt(0.75)]]) @ along.T
    found = calibrate_beam_shift(Session(drawn.session.folder, changed(drawn, bend=hexagonal)))
    assert is_right(found, drawn)
    assert found.hole_spacing_um == pytest.approx(2.5, rel=0.02)
    assert (
        assume_beam_shift(Session(drawn.session.folder, changed(drawn, bend=hexagonal)), drawn.matrix).residual_um < 0.1
    )


@pytest.mark.parametrize("seed", range(6))
def test_a_stage_that_stops_on_the_lattice_is_not_sure(seed):
    """Then many turns fit alike, and the right one must be among those compared."""
    drawn = draw_exposures(groups=16, stage_positions=8, shots=1, hole_spacing_um=2.0, stage_noise_um=0.02, seed=seed)
    found = calibrate_beam_shift(Session(drawn.session.folder, changed(drawn, keep=0.8)))
    assert is_right(found, drawn) or found.margin < SAFE_MARGIN


def test_holes_all_in_one_line_are_no_crash():
    drawn = draw_exposures(groups=2, stage_positions=2, grid_squares=1, shots=2, seed=0)
    found = calibrate_beam_shift(drawn.session)
    assert "not certain" in found.warning
    assert np.isfinite(found.lattice_um).all()


@pytest.mark.parametrize(("spacing_um", "stage_noise_um"), [(8.0, 0.2), (0.7, 0.05)])
def test_holes_far_apart_or_close_are_found_or_not_sure(spacing_um, stage_noise_um):
    drawn = draw_exposures(groups=4, stage_positions=8, shots=1, hole_spacing_um=spacing_um, seed=0,
                           stage_noise_um=stage_noise_um, hole_noise_um=0.02)  # fmt: skip
    found = calibrate_beam_shift(drawn.session)
    assert is_right(found, drawn) or found.warning
    assert is_right(calibrate_beam_shift(drawn.session, hole_spacing_um=spacing_um), drawn)


def test_the_spacing_of_another_foil_is_doubted():
    drawn = draw_exposures(groups=21, stage_positions=8, hole_spacing_um=3.0, seed=3)
    assert "3.00 um" in calibrate_beam_shift(drawn.session, hole_spacing_um=2.5).warning
    assert calibrate_beam_shift(drawn.session, hole_spacing_um=3.0).warning == ""


def several(*drawn):
    tables = [changed(one, session=f"grid{number}") for number, one in enumerate(drawn)]
    return Session(drawn[0].session.folder, pd.concat(tables, ignore_index=True))


def test_grids_whose_films_lie_differently_are_calibrated_together():
    drawn = [draw_exposures(groups=9, stage_positions=8, lattice_angle_deg=turn, seed=seed)
             for seed, turn in enumerate((5.0, 37.0))]  # fmt: skip
    session = several(*drawn)
    found = calibrate_beam_shift(session)
    assert is_right(found, drawn[0])
    assert found.margin >= SAFE_MARGIN
    assert found.warning == ""
    assert found.residual_um < 0.06
    assert found.groups == 18
    holes = hole_terms(session.exposures).holes
    assert found.holes[["session", "foil_hole"]].equals(holes[["session", "foil_hole"]])
    assert assign_optics_groups(session, found).summary()["optics_groups"] == 18


def test_sessions_of_two_microscopes_are_told_apart():
    drawn = [draw_exposures(groups=9, stage_positions=8, k_um_per_unit=k, seed=seed)
             for seed, k in enumerate((24.33, 20.0))]  # fmt: skip
    said = calibrate_beam_shift(several(*drawn)).warning
    assert "different calibrations" in said
    assert "Read those alone" in said


# ---- lattice -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4), st.floats(0, 6), st.floats(60, 120))
def test_a_reduced_basis_spans_the_same_lattice(whole, turn, between):
    change = np.array(whole).reshape(2, 2)
    if abs(round(np.linalg.det(change))) != 1:
        return
    second = np.radians(between)
    basis = np.array([[np.cos(turn), np.cos(turn + second)], [np.sin(turn), np.sin(turn + second)]])
    reduced = reduce_basis(basis @ change)
    steps = np.linalg.solve(basis, reduced)
    assert np.allclose(steps, np.round(steps), atol=1e-9)
    assert abs(np.linalg.det(reduced)) == pytest.approx(abs(np.linalg.det(basis)))
    assert np.hypot(*reduced).max() == pytest.approx(1)


@pytest.mark.parametrize("between_deg", [90, 60, 75])
@pytest.mark.parametrize("seed", range(4))
def test_square_hexagonal_and_skew_lattices_are_seen(between_deg, seed):
    draw = np.random.default_rng(seed)
    turn, between = draw.uniform(0, 2 * np.pi), np.radians(between_deg)
    basis = 0.1 * np.array([[np.cos(turn), np.cos(turn + between)], [np.sin(turn), np.sin(turn + between)]])
    cells = np.stack(np.meshgrid(np.arange(-1, 2), np.arange(-1, 2)), axis=-1).reshape(-1, 2)
    offsets = draw.normal(0, 0.02, (20, 1, 2))
    shifts = cells @ basis.T + offsets + draw.normal(0, 0.0012, (20, 9, 2))
    found, assumed = beam_shift_lattice(shifts.reshape(-1, 2), np.repeat(np.arange(20), 9))
    assert not assumed
    steps = np.linalg.solve(basis, found)
    assert np.abs(steps - np.round(steps)).max() < 0.02
    assert abs(round(np.linalg.det(np.round(steps)))) == 1


def test_holes_in_one_row_make_a_square_lattice_and_say_so():
    drawn = draw_exposures(groups=2, stage_positions=14, seed=1)
    calibration = calibrate_beam_shift(drawn.session, hole_spacing_um=2.5)
    assert "one direction" in calibration.warning


def test_rare_cells_are_no_groups():
    basis = 0.1 * np.eye(2)
    usual = np.repeat(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) * 0.1, 12, axis=0)
    labels, cells = count_groups(np.vstack([usual, [[0.3, 0.2]]]), basis)
    assert len(cells) == 4
    assert labels[-1] == -1
    assert np.bincount(labels[:-1]).tolist() == [12, 12, 12, 12]


# ---- the way by clusters -------------------------------------------------------------------------------------


def test_distance_matrix_of_five_clusters():
    """The matrix printed in the manual of find_dupl, whose k was read off by eye as about 25."""
    upper = {(0, 1): 0.219, (0, 2): 0.365, (0, 3): 0.327, (0, 4): 0.163, (1, 2): 0.163, (1, 3): 0.216,
             (1, 4): 0.145, (2, 3): 0.161, (2, 4): 0.231, (3, 4): 0.163}  # fmt: skip
    distances = np.zeros((5, 5))
    for (i, j), value in upper.items():
        distances[i, j] = distances[j, i] = value
    neighbours = find_neighbours(distances)
    assert len(neighbours) == 5
    assert scalar_k(neighbours, 4.0) == pytest.approx(24.5, abs=0.05)
    assert distances[np.triu_indices(5, 1)].min() == 0.145
    assert distances.max() == 0.365


def test_clusters_have_the_true_least_and_largest_distance():
    drawn = draw_exposures(groups=4, shots=1, stage_noise_um=0.01, hole_noise_um=0.0, k_um_per_unit=25.0, seed=8)
    found = cluster_beam_shifts(drawn.session, hole_spacing_um=2.5)
    assert len(found.centres) == 4
    assert found.minimum == pytest.approx(0.1, rel=0.02)
    assert found.maximum == pytest.approx(0.1 * np.sqrt(2), rel=0.02)
    assert found.k_um_per_unit == pytest.approx(25, rel=0.02)
    assert found.table["exposures"].sum() == len(drawn.session.exposures)
    assert len(found.neighbours) == 4


@pytest.mark.parametrize("clusters", [1, 2, 3])
def test_few_clusters_do_not_fail(clusters):
    found = cluster_beam_shifts(draw_exposures(groups=5).session, clusters=clusters, hole_spacing_um=2.5)
    assert len(found.table) == clusters
    assert np.isnan(found.minimum) == (clusters == 1)


def test_more_clusters_than_beam_shifts_are_refused():
    session = draw_exposures(groups=2, shots=1, stage_positions=2, grid_squares=1).session
    with pytest.raises(ValueError, match="clusters must be from 1 to the 4 different beam shifts; got 99"):
        cluster_beam_shifts(session, clusters=99)


def test_optics_groups_are_the_holes_reached_alike():
    drawn = draw_exposures(groups=13, shots=3, stage_positions=10, re_exposed_holes=2, seed=6)
    calibration = calibrate_beam_shift(drawn.session)
    groups = assign_optics_groups(drawn.session, calibration)
    assert groups.summary()["optics_groups"] == 13
    assert len(groups.table) == len(drawn.session.exposures)
    assert groups.table.groupby(["session", "grid_square", "foil_hole"])["optics_group"].nunique().max() == 1
    assert groups.centres["exposures"].sum() == len(groups.table)
    with pytest.raises(ValueError, match="calibration must be of this session"):
        assign_optics_groups(draw_exposures(groups=3).session, calibration)


# ---- measured elsewhere --------------------------------------------------------------------------------------


@pytest.mark.reference
def test_real_session(real_epu):
    session = read_epu_session(real_epu)
    assert len(session.exposures) == 189
    for spacing in (None, 2.5):
        found = calibrate_beam_shift(session, hole_spacing_um=spacing)
        assert found.groups == 21
        assert found.k_um_per_unit == pytest.approx(24.33, abs=0.05)
        assert found.angle_deg == pytest.approx(26.8, abs=0.2)
        assert found.mirrored
        assert found.residual_um < 0.06
        assert found.collisions == 0
        assert found.margin > SAFE_MARGIN
    scalar = assume_beam_shift(session, 24.07)
    assert scalar.residual_um == pytest.approx(0.228, abs=0.01)
    assert scalar.collisions == 6


@pytest.mark.reference
def test_real_session_by_clusters(real_epu, reference):
    session = read_epu_session(real_epu)
    found = cluster_beam_shifts(session, clusters=21, hole_spacing_um=2.5)
    assert found.k_um_per_unit == pytest.approx(24.07, abs=0.01)
    theirs = np.loadtxt(reference / "exposures/real/original_clusters21_distance_matrix.csv", delimiter=",")
    assert np.sort(found.distances, axis=None) == pytest.approx(np.sort(theirs, axis=None), abs=2e-6)
    assert len(cluster_beam_shifts(session).centres) == 21


@pytest.mark.reference
@pytest.mark.parametrize(("which", "k", "angle", "mirrored"), [("rotated", 24.33, 26.8, True),
                                                                 ("aligned", 24.5, 0.0, False)])  # fmt: skip
def test_reference_sessions(reference, which, k, angle, mirrored):
    found = calibrate_beam_shift(read_epu_session(reference / f"exposures/synthetic_{which}"))
    assert found.k_um_per_unit == pytest.approx(k, rel=0.004)
    assert found.angle_deg == pytest.approx(angle, abs=0.4)
    assert found.mirrored == mirrored
    assert found.margin > SAFE_MARGIN
    assert found.groups == 9
