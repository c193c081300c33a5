"""Drawn sessions keep to their truth: positions, groups of holes, duplicates and pictures."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial import cKDTree

from analysis.exposures import read_epu_session
from analysis.synthetic._visits import make_cluster, tile_clusters
from analysis.synthetic.exposures import (
    EXAMPLE_SESSION,
    KINDS,
    draw_exposures,
    draw_session,
)

PLANTED = {
    "re_exposed_holes": 3, "missed_stage_moves": 2, "partial_overlaps": 2, "triples": 1, "repeated_shots": 2,
}  # fmt: skip


def positions(drawn):
    table = drawn.session.table
    shifts = table[["beam_shift_x", "beam_shift_y"]].to_numpy()
    return table[["stage_x_um", "stage_y_um"]].to_numpy() + shifts @ drawn.matrix.T


@pytest.mark.parametrize("compensated", [True, False])
@pytest.mark.parametrize("mirrored", [True, False])
def test_stage_and_beam_shift_lead_to_the_true_positions(compensated, mirrored):
    drawn = draw_exposures(
        **PLANTED, compensated=compensated, mirrored=mirrored, k_um_per_unit=25, angle_deg=-31, seed=1
    )
    assert drawn.session.table["name"].tolist() == drawn.truth["name"].tolist()
    off_um = np.linalg.norm(positions(drawn) - drawn.truth[["x_um", "y_um"]].to_numpy(), axis=1)
    assert 0 < off_um.max() < 0.006
    assert np.linalg.det(drawn.matrix) == pytest.approx(-625 if mirrored else 625)
    assert np.degrees(np.arctan2(drawn.matrix[1, 0], drawn.matrix[0, 0])) == pytest.approx(-31)


@pytest.mark.parametrize("compensated", [True, False])
def test_the_beam_shift_corrects_for_where_the_stage_stopped_when_asked_to(compensated):
    drawn = draw_exposures(grid_squares=1, shots=1, hole_noise_um=0, compensated=compensated, seed=8)
    shifts = np.rint(drawn.session.table[["beam_shift_x", "beam_shift_y"]] / 1e-6)
    assert len(shifts.drop_duplicates()) == (81 if compensated else 9)
    distances, _ = cKDTree(positions(drawn)).query(positions(drawn), k=2)
    assert np.allclose(distances[:, 1], 2.5, atol=0.01) == compensated


def test_holes_stand_on_their_lattice():
    drawn = draw_exposures(grid_squares=1, shots=1, hole_noise_um=0, hole_spacing_um=4, lattice_angle_deg=20, seed=2)
    places = drawn.truth[["x_um", "y_um"]].to_numpy()
    turn = np.radians(20)
    basis = 4 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cells = np.linalg.solve(basis, (places - places[0]).T)
    assert np.abs(cells - np.rint(cells)).max() < 1e-9
    assert len(np.unique(np.rint(cells), axis=1).T) == 81
    distances, _ = cKDTree(places).query(places, k=2)
    np.testing.assert_allclose(distances[:, 1], 4, atol=1e-9)


@pytest.mark.parametrize("compensated", [True, False])
@pytest.mark.parametrize(("groups", "shots"), [(1, 1), (4, 8), (5, 3), (7, 7), (9, 4), (13, 5), (21, 2), (37, 6)])
def test_nothing_overlaps_that_was_not_planted(groups, shots, compensated):
    drawn = draw_exposures(groups=groups, shots=shots, compensated=compensated, seed=groups)
    assert len(drawn.session) == 18 * groups * shots
    assert drawn.bad(0.5) == []
    assert not drawn.truth["planted"].any()


@pytest.mark.parametrize("groups", range(1, 38))
def test_clusters_lie_side_by_side(groups):
    cells, centre = make_cluster(groups)
    assert len(np.unique(cells, axis=0)) == groups
    assert np.linalg.norm(cells.mean(axis=0) - centre) < 0.51
    shifts = tile_clusters(cells, 12)
    everything = (cells[None] + shifts[:, None]).reshape(-1, 2)
    assert len(np.unique(everything, axis=0)) == 12 * groups
    # few holes are left over between them
    spread = np.linalg.norm(everything - everything.mean(axis=0), axis=1).max()
    assert np.pi * spread**2 < 4.5 * 12 * groups + 40


def test_every_cause_is_planted_as_it_happens():
    drawn = draw_exposures(**PLANTED, shots=3, seed=3)
    truth, table = drawn.truth.set_index("name"), drawn.session.table.set_index("name")
    planted = truth[truth["planted"]]
    assert planted["kind"].value_counts().to_dict() == {
        "hole_reexposed": 9, "missed_stage_move": 6, "partial": 2, "triple": 2, "repeated_shot": 2,
    }  # fmt: skip
    assert set(planted["kind"]) == set(KINDS)
    for name, row in planted.iterrows():
        now, first = table.loc[name], table.loc[row["first_exposure"]]
        moved_um = np.hypot(now["stage_x_um"] - first["stage_x_um"], now["stage_y_um"] - first["stage_y_um"])
        same_ids = (now["foil_hole"], now["area"]) == (first["foil_hole"], first["area"])
        apart = np.hypot(*(truth.loc[name, ["x_um", "y_um"]] - truth.loc[row["first_exposure"], ["x_um", "y_um"]]))
        assert apart == pytest.approx(row["distance_um"])
        assert now["acquired"] > first["acquired"]
        assert now["grid_square"] == first["grid_square"]
        assert same_ids == (row["kind"] == "repeated_shot")
        assert (moved_um < 0.1) == (row["kind"] in ("missed_stage_move", "repeated_shot"))
        low, high = {"partial": (0.29, 0.335), "hole_reexposed": (0.009, 0.151)}.get(row["kind"], (0, 0.03))
        assert low < row["distance_um"] < high


@pytest.mark.parametrize("seed", range(6))
def test_bad_are_the_planted_ones(seed):
    drawn = draw_exposures(**PLANTED, seed=seed)
    planted = drawn.truth[drawn.truth["planted"]]
    assert drawn.bad(0.4) == drawn.bad(0.5) == planted["name"].tolist()
    assert drawn.bad(0.2) == planted["name"][planted["kind"] != "partial"].tolist()
    assert drawn.bad(1e-9) == []


def test_times_advance_and_names_are_in_their_order():
    table = draw_exposures(seed=4).session.table
    seconds = table["acquired"].diff().dropna().dt.total_seconds()
    assert seconds.between(35, 75).all()
    assert table["named_time"].is_monotonic_increasing
    late = (table["acquired"].dt.tz_localize(None) - table["named_time"]).dt.total_seconds() + 3600
    assert late.between(0, 2).all()
    assert table["name"].is_unique


def test_one_seed_is_one_session():
    first, second, third = (draw_exposures(**PLANTED, seed=seed) for seed in (5, 5, 6))
    assert first.session.table.equals(second.session.table)
    assert not first.session.table["stage_x_um"].equals(third.session.table["stage_x_um"])
    assert draw_exposures(**first.settings).settings == first.settings


def test_beam_shift_is_a_sum_of_hole_and_area():
    table = draw_exposures(grid_squares=1, seed=6).session.table
    for axis in ("beam_shift_x", "beam_shift_y"):
        wide = table.pivot(index="foil_hole", columns="area", values=axis)
        rest = wide - wide.mean(axis=0) - wide.mean(axis=1).to_numpy()[:, None] + wide.to_numpy().mean()
        assert np.abs(rest.to_numpy()).max() < 1e-12


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"shots": 0}, "shots must be at least 1; got 0"),
        ({"shots": 9}, "shots must be at most 8"),
        ({"groups": 0}, "groups must be at least 1"),
        ({"triples": 1000}, "162 together as there are holes"),
        ({"triples": -1}, "must be 0 or more"),
    ],
)
def test_what_makes_no_session_is_refused(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        draw_exposures(**wrong)


def test_the_example_has_every_cause_and_pictures(tmp_path):
    drawn = draw_session(tmp_path, images=True, **{**EXAMPLE_SESSION, "image_px": 32})
    found = read_epu_session(tmp_path)
    assert 300 <= len(found) < 400
    assert found.summary()["grid_squares"] == 3
    assert set(drawn.truth["kind"]) == {"", *KINDS}
    assert found.problems.empty and found.left_out == 0
    assert found.exposures["name"].tolist() == drawn.truth["name"].tolist()
    for file in found.table["file"]:
        with Image.open((tmp_path / file).with_suffix(".jpg")) as picture:
            assert picture.size == (32, 32)
    holes = found.exposures.groupby("grid_square")["foil_hole"].nunique()
    for square, count in holes.items():
        assert len(list((tmp_path / "Images-Disc1" / f"GridSquare_{square}" / "FoilHoles").glob("*.jpg"))) == 2 * count


def likeness(folder, first, second):
    """Correlation of the last picture that was taken of each hole."""
    pictures = []
    for hole in (first, second):
        path = max(folder.glob(f"Images-Disc1/*/FoilHoles/FoilHole_{hole}_*.jpg"), key=lambda path: path.name)
        with Image.open(path) as picture:
            pictures.append(np.asarray(picture, dtype=float).ravel())
    return np.corrcoef(*pictures)[0, 1]


def test_a_missed_stage_move_shows_the_same_picture(tmp_path):
    settings = {"grid_squares": 1, "stage_positions": 2, "groups": 4, "shots": 1, "seed": 7, "image_px": 96}
    drawn = draw_session(tmp_path, images=True, missed_stage_moves=1, re_exposed_holes=1, **settings)
    hole = dict(zip(drawn.session.table["name"], drawn.session.table["foil_hole"], strict=True))
    planted = drawn.truth[drawn.truth["planted"]].set_index("kind")
    missed, again = planted.loc["missed_stage_move"], planted.loc["hole_reexposed"]
    assert likeness(tmp_path, hole[missed["name"]], hole[missed["first_exposure"]]) > 0.95
    assert likeness(tmp_path, hole[again["name"]], hole[again["first_exposure"]]) < 0.8
    holes = sorted(set(hole.values()) - {hole[missed["name"]], hole[again["name"]]})
    assert max(likeness(tmp_path, holes[0], other) for other in holes[1:]) < 0.93


def test_files_can_be_as_large_as_those_of_a_microscope(tmp_path):
    settings = {"grid_squares": 1, "stage_positions": 1, "groups": 3, "shots": 1}
    drawn = draw_session(tmp_path, padding_bytes=12_000, **settings)
    sizes = [(tmp_path / file).stat().st_size for file in drawn.session.table["file"]]
    assert min(sizes) >= 12_000 and max(sizes) < 12_400
    assert read_epu_session(tmp_path).problems.empty
