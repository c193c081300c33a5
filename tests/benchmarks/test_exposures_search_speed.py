"""How fast sessions are calibrated and searched, against the rules written down plainly; prints CPU times and ratios.

Run with ``python -m pytest tests/benchmarks/test_exposures_search_speed.py -m benchmark -s``.
"""

import time

import numpy as np
import pytest

from analysis.exposures import Session, calibrate_beam_shift, find_duplicates, measure_predose
from analysis.exposures._pairs import find_pairs, join_pairs
from analysis.exposures._session import make_table
from analysis.synthetic.exposures import draw_exposures

pytestmark = pytest.mark.benchmark

RADIUS_UM = 0.4


class Stage:
    """A calibration without beam shift."""

    def positions(self, table):
        return table[["stage_x_um", "stage_y_um"]].to_numpy()


def draw_places(count, planted):
    """Three shots a hole, holes 2.5 um apart; the last ones show the first ones again."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count / 3)))
    holes = 2.5 * np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 1, 2)
    turn = np.array([0, 2.1, 4.2])
    places = (holes + 0.45 * np.stack([np.cos(turn), np.sin(turn)], axis=-1)).reshape(-1, 2)[:count]
    places = places + rng.normal(0, 0.02, places.shape)
    places[-planted:] = places[:planted] + rng.normal(0, 0.03, (planted, 2))
    return places


def make_session(places):
    count = len(places)
    names = [f"FoilHole_{i // 3}_Data_{i % 3}_1_20260101_{i:06d}" for i in range(count)]
    columns = {
        "name": names,
        "file": [f"Images-Disc1/GridSquare_{i // 400}/Data/{name}.xml" for i, name in enumerate(names)],
        "grid_square": [str(i // 400) for i in range(count)],
        "foil_hole": [str(i // 3) for i in range(count)],
        "area": [str(i % 3) for i in range(count)],
        "acquired": 40_000_000_000 * np.arange(count),
        "stage_x_um": places[:, 0],
        "stage_y_um": places[:, 1],
        "beam_shift_x": np.zeros(count),
        "beam_shift_y": np.zeros(count),
    }
    sizes = {"beam_diameter_um": 0.95, "dose_e_per_a2": 30, "pixel_size_angstrom": 0.87}
    sizes |= {"field_width_px": 4096, "field_height_px": 4096}
    session = Session(folder="", table=make_table(columns | {name: np.full(count, v) for name, v in sizes.items()}))
    session.exposures  # noqa: B018 - sorted once, however often the radius moves
    return session


def plain_bad(places, radius):
    """Every place against every other one; what is near joins the group of the earlier one."""
    group = {}
    for i in range(len(places)):
        near = (
            np.flatnonzero((places[i:, 0] - places[i, 0]) ** 2 + (places[i:, 1] - places[i, 1]) ** 2 <= radius**2) + i
        )
        if len(near) > 1:
            joined = {group[j] for j in near if j in group} | {i}
            for j in [*near, *(j for j, number in group.items() if number in joined)]:
                group[j] = min(joined)
    return sorted(j for j, number in group.items() if j != number)


def cpu(function, *args, repeats=1, **options):
    took = []
    for _ in range(repeats):
        start = time.process_time()
        result = function(*args, **options)
        took.append(time.process_time() - start)
    return float(np.median(took)), result


def say(capsys, *lines):
    with capsys.disabled():
        print("", *lines, sep="\n")


def test_groups_against_every_pair(capsys):
    places = draw_places(10_000, 200)
    zeros = np.zeros(len(places), dtype=int)
    plain, expected = cpu(plain_bad, places, RADIUS_UM)

    def ours():
        pairs, _ = find_pairs(places, zeros, RADIUS_UM)
        groups = join_pairs(pairs, len(places))
        return np.setdiff1d(np.flatnonzero(groups >= 0), np.unique(groups, return_index=True)[1])

    here, found = cpu(ours, repeats=5)
    assert found.tolist() == expected
    say(capsys, f"pairs and groups of 10 000: plain {plain:.2f} s, here {here:.4f} s, ratio {plain / here:.0f}")


def test_pairs_and_groups_of_200_000(capsys):
    places = draw_places(200_000, 3000)
    zeros = np.zeros(len(places), dtype=int)

    def grouped():
        return join_pairs(find_pairs(places, zeros, RADIUS_UM)[0], len(places))

    here, groups = cpu(grouped, repeats=3)
    assert groups.max() + 1 == 3000
    whole, _ = cpu(find_duplicates, make_session(places), Stage(), radius_um=RADIUS_UM)
    say(capsys, f"pairs and groups of 200 000: {here:.2f} s (wanted: 1); with all tables {whole:.2f} s")


def test_a_move_of_the_radius(capsys):
    session = make_session(draw_places(20_000, 300))
    find_duplicates(session, Stage())
    took = [cpu(find_duplicates, session, Stage(), radius_um=radius)[0] for radius in np.linspace(0.2, 0.45, 15)]
    say(capsys, f"20 000 exposures: {1e3 * np.median(took):.0f} ms, at worst {1e3 * max(took):.0f} ms (wanted: 60)")


@pytest.mark.parametrize("field", ["camera", "beam"])
def test_predose(capsys, field):
    session = make_session(draw_places(20_000, 300))
    here, predose = cpu(measure_predose, session, Stage(), field=field)
    half = predose.summary()["half_exposed"]
    say(capsys, f"pre-dose of 20 000 fields ({field}): {here:.2f} s (wanted: 5), {half} exposed by half")


@pytest.mark.parametrize("hole_spacing_um", [None, 2.5])
def test_calibration(capsys, hole_spacing_um):
    drawn = draw_exposures(grid_squares=20, stage_positions=37, groups=9, shots=3, re_exposed_holes=3, seed=1)
    here, found = cpu(calibrate_beam_shift, drawn.session, hole_spacing_um=hole_spacing_um)
    assert np.abs(found.matrix - drawn.matrix).max() < 0.1
    told = f"spacing {hole_spacing_um}" if hole_spacing_um else "no spacing told"
    say(capsys, f"calibration of {len(drawn.session):,} exposures, {told}: {here:.2f} s (wanted: 10)")
