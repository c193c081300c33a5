"""EPU sessions with known positions and duplicates, drawn as tables or written as EPU's folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from analysis.exposures._session import SESSION_COLUMNS, Session, make_table, sort_exposures
from analysis.synthetic._epu_files import write_epu_session
from analysis.synthetic._visits import make_rotation, plan_square

KINDS = ("hole_reexposed", "missed_stage_move", "partial", "triple", "repeated_shot")
"""Kinds of planted exposures: what ``kind`` of the truth says."""
EXAMPLE_SESSION: dict[str, Any] = {
    "grid_squares": 3, "stage_positions": 7, "groups": 5, "shots": 3, "seed": 7, "image_px": 160,
    "re_exposed_holes": 4, "missed_stage_moves": 2, "partial_overlaps": 2, "triples": 1, "repeated_shots": 2,
}  # fmt: skip
"""Keywords of `draw_session` for a small session with duplicates of every kind."""

_START_NS = int(np.datetime64("2024-03-12T08:15:00", "ns").astype(np.int64))
_SHOT_S = 40.0
_LOCAL_HOURS = 1
_READING_UM = 0.001


@dataclass(frozen=True)
class DrawnSession:
    """A session and what is true about it.

    Attributes
    ----------
    session
        As `analysis.exposures.read_epu_session` would read it; without files its folder is empty.
    truth
        One row an exposure, in the order of ``session.table``: ``name``, true ``x_um`` and ``y_um``,
        ``planted`` (shows an earlier place again), ``kind`` (one of `KINDS`, or empty), ``first_exposure``
        (name of the first exposure of that place) and ``distance_um`` to it.
    matrix
        (2, 2) um on the stage per unit of beam shift.
    k_um_per_unit, angle_deg, mirrored
        What the matrix is made of: k R(angle) F, with F = diag(1, -1) when mirrored.
    groups
        Holes reached from one stage position.
    hole_spacing_um
        Distance of neighbouring holes.
    settings
        The keyword arguments used.
    """

    session: Session
    truth: pd.DataFrame
    matrix: np.ndarray
    k_um_per_unit: float
    angle_deg: float
    mirrored: bool
    groups: int
    hole_spacing_um: float
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.truth[["x_um", "y_um"]].to_numpy())

    def bad(self, radius_um: float) -> list[str]:
        """Names of all but the first exposure of each group joined by true distances up to the radius."""
        pairs = self._tree.query_pairs(radius_um, output_type="ndarray")
        count = len(self.truth)
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
        _, labels = connected_components(graph, directed=False)
        _, first = np.unique(labels, return_index=True)  # rows stand in order of time
        later = np.setdiff1d(np.arange(count), first)
        return self.truth["name"].to_numpy()[later].tolist()


def draw_exposures(
    *,
    grid_squares: int = 2,
    stage_positions: int = 9,
    groups: int = 9,
    shots: int = 3,
    k_um_per_unit: float = 24.33,
    angle_deg: float = 26.8,
    mirrored: bool = True,
    hole_spacing_um: float = 2.5,
    lattice_angle_deg: float | None = None,
    stage_noise_um: float = 0.2,
    compensated: bool = True,
    hole_noise_um: float = 0.03,
    beam_diameter_um: float = 0.95,
    re_exposed_holes: int = 0,
    missed_stage_moves: int = 0,
    partial_overlaps: int = 0,
    triples: int = 0,
    repeated_shots: int = 0,
    seed: int = 0,
) -> DrawnSession:
    """Draw the exposures of a session, without files.

    Holes stand on a square lattice. From each stage position the ``groups`` holes nearest to it are reached
    by beam shift, so that no hole belongs to two positions. An exposure is at stage + matrix @ beam shift.

    Parameters
    ----------
    grid_squares, stage_positions
        How many, and how many in each square.
    groups
        Holes reached from one stage position.
    shots
        Exposures in each hole, 1 to 8.
    k_um_per_unit, angle_deg, mirrored
        How beam shift is turned into um on the stage.
    hole_spacing_um, lattice_angle_deg
        Of the holes; the angle is random when None.
    stage_noise_um
        Standard deviation of where the stage stops, along each axis.
    compensated
        Whether the beam shift corrects for that, as EPU does after it has centred a hole.
    hole_noise_um
        Standard deviation of a hole's place on the lattice, along each axis.
    beam_diameter_um
        Of the illuminated disc.
    re_exposed_holes
        Holes exposed again at the end of the square, all shots, up to 0.15 um away.
    missed_stage_moves
        Holes exposed again under the name of another one because the stage stood still, all shots.
    partial_overlaps
        Single exposures about a third of the beam diameter away from one in another hole.
    triples
        Places exposed three times, one shot each under three hole names.
    repeated_shots
        Exposures repeated under the same hole and shot area.
    seed
        Of the random numbers.

    Returns
    -------
    DrawnSession
        The session and its truth.

    Raises
    ------
    ValueError
        When a number makes no session, or more is to be planted than there are holes.

    Examples
    --------
    >>> drawn = draw_exposures(grid_squares=1, stage_positions=2, groups=5, shots=2, triples=1)
    >>> len(drawn.session), len(drawn.bad(0.2))
    (22, 2)
    """
    settings = {name: value for name, value in locals().items() if name != "settings"}
    _check(settings)
    rng = np.random.default_rng(seed)
    if lattice_angle_deg is None:
        lattice_angle_deg = settings["lattice_angle_deg"] = round(float(rng.uniform(0, 90)), 3)
    matrix = k_um_per_unit * make_rotation(angle_deg) @ np.diag([1.0, -1.0 if mirrored else 1.0])
    visits = [visit for square in range(grid_squares) for visit in plan_square(square, settings, rng)]
    table, truth = _expose(visits, matrix, settings, rng)
    names = ("", len(table), 0, hole_spacing_um, 0.5 * hole_spacing_um, "ClusteringWithImageBeamShift")
    session = Session(Path(""), table, pd.DataFrame([names], columns=list(SESSION_COLUMNS)))
    return DrawnSession(session, truth, matrix, k_um_per_unit, angle_deg, mirrored, groups, hole_spacing_um, settings)


def draw_session(
    folder: str | os.PathLike[str],
    *,
    images: bool = False,
    image_px: int = 256,
    padding_bytes: int = 0,
    **settings: Any,
) -> DrawnSession:
    """Draw the exposures of a session and write them as EPU's folders.

    Parameters
    ----------
    folder
        Where ``EpuSession.dm`` and ``Images-Disc1`` are made.
    images
        Whether to write the micrographs and two pictures of each foil hole as JPEG.
    image_px
        Rows and columns of these.
    padding_bytes
        Fill every XML with frame ranges, as cameras with many fractions do, to at least this size.
    **settings
        As in `draw_exposures`.

    Returns
    -------
    DrawnSession
        What `analysis.exposures.read_epu_session` should find, and the truth.
    """
    drawn = draw_exposures(**settings)
    session = replace(drawn.session, folder=Path(folder))
    drawn = replace(drawn, session=session)
    seed = drawn.settings["seed"]
    write_epu_session(session, drawn.truth, images=images, image_px=image_px, padding_bytes=padding_bytes, seed=seed)
    return drawn


def _check(settings: dict[str, Any]) -> None:
    for name in ("grid_squares", "stage_positions", "groups", "shots"):
        if settings[name] < 1:
            raise ValueError(f"{name} must be at least 1; got {settings[name]}.")
    if settings["shots"] > 8:
        raise ValueError(f"shots must be at most 8, more do not fit in a hole; got {settings['shots']}.")
    planted = ("re_exposed_holes", "missed_stage_moves", "partial_overlaps", "triples", "repeated_shots")
    wanted = sum(settings[name] for name in planted)
    holes = settings["grid_squares"] * settings["stage_positions"] * settings["groups"]
    if wanted > holes or min(settings[name] for name in planted) < 0:
        raise ValueError(f"{', '.join(planted)} must be 0 or more, and {holes} together as there are holes.")


def _expose(visits, matrix, settings, rng):
    """Give every exposure its time, name and readings; return the session's table and the truth."""
    count = len(visits)
    seconds = np.cumsum(rng.uniform(0.97, 1.03, count) * _SHOT_S + 25.0 * _moves(visits))
    named_ns = _START_NS + (np.floor(seconds) * 1e9).astype(np.int64)
    # the clock has steps of 100 ns, and the file is named a little before the exposure is written down
    acquired_ns = named_ns + rng.integers(3_000_000, 16_000_000, count) * 100
    stage, place = (np.array([visit[key] for visit in visits]).reshape(-1, 2) for key in ("stage", "place"))
    beam_shift = np.linalg.solve(matrix, (place - stage).T).T
    stage = stage + _READING_UM * rng.standard_normal(stage.shape)  # the stage stands, its reading flickers
    squares = [str(5324661 + 46 * visit["square"]) for visit in visits]
    columns = {
        "session": [""] * count, "grid_square": squares,
        "foil_hole": [str(5330585 + 5000 * visit["square"] + visit["hole"]) for visit in visits],
        "area": [str(5338216 + 8 * visit["area"]) for visit in visits],
        "acquisition": [str(5338218 + 8 * visit["area"]) for visit in visits],
        "named_time": named_ns + _LOCAL_HOURS * 3_600_000_000_000, "acquired": acquired_ns,
        "stage_x_um": stage[:, 0], "stage_y_um": stage[:, 1], "stage_z_um": np.full(count, -22.2),
        "stage_alpha_deg": np.full(count, 0.01), "stage_beta_deg": np.full(count, 1.0),
        "beam_shift_x": beam_shift[:, 0], "beam_shift_y": beam_shift[:, 1],
        "image_shift_x": np.zeros(count), "image_shift_y": np.zeros(count),
        "beam_tilt_x": np.full(count, 0.0056), "beam_tilt_y": np.full(count, 0.0263),
        "beam_diameter_um": np.full(count, settings["beam_diameter_um"]),
        "applied_defocus_um": (applied := -0.5 - 0.25 * (np.arange(count) % 8)),
        "defocus_um": applied - rng.uniform(0.1, 0.6, count),
        "dose_e_per_a2": rng.normal(30.4, 0.1, count), "dose_on_camera_e_per_px": rng.normal(23.06, 0.08, count),
        "pixel_size_angstrom": np.full(count, 0.87077), "field_width_px": np.full(count, 4096.0),
        "field_height_px": np.full(count, 4096.0), "exposure_time_s": np.full(count, 33.4),
        "magnification": np.full(count, 96000.0), "voltage_kv": np.full(count, 300.0),
        "microscope": ["SYNTHETIC"] * count, "camera": ["BM-Synthetic"] * count,
        "software_version": ["2.6.0.59"] * count,
    }  # fmt: skip
    image = np.array([[-8.6809e-5, -6.8126e-6], [-6.8126e-6, 8.6809e-5]])
    for name, value in zip(("xx", "xy", "yx", "yy"), image.ravel(), strict=True):
        columns[f"image_{name}_um"] = np.full(count, value)
    stamps = pd.DatetimeIndex(columns["named_time"]).strftime("%Y%m%d_%H%M%S")
    parts = zip(columns["foil_hole"], columns["area"], columns["acquisition"], stamps, strict=True)
    columns["name"] = [f"FoilHole_{hole}_Data_{area}_{number}_{stamp}" for hole, area, number, stamp in parts]
    columns["file"] = [
        f"Images-Disc1/GridSquare_{square}/Data/{name}.xml"
        for square, name in zip(squares, columns["name"], strict=True)
    ]
    return sort_exposures(make_table(columns)), _truth(visits, columns["name"], place)


def _moves(visits) -> np.ndarray:
    """1 where the stage went elsewhere before the exposure."""
    stage = np.array([visit["stage"] for visit in visits]).reshape(-1, 2)
    return np.concatenate([[0.0], np.any(np.diff(stage, axis=0) != 0, axis=1)])


def _truth(visits, names, place):
    rows = {id(visit): row for row, visit in enumerate(visits)}
    first = [rows[id(visit["of"])] if visit["of"] is not None else -1 for visit in visits]
    planted = np.array(first) >= 0
    distance = np.linalg.norm(place - place[first], axis=1)
    return pd.DataFrame({
        "name": names, "x_um": place[:, 0], "y_um": place[:, 1], "planted": planted,
        "kind": [visit["kind"] for visit in visits],
        "first_exposure": [names[i] if i >= 0 else "" for i in first],
        "distance_um": np.where(planted, distance, np.nan),
    })  # fmt: skip
