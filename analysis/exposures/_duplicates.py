"""Exposures of a place that was exposed before: pairs within a radius, their groups, and the likely cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.exposures._calibration import Calibration
from analysis.exposures._causes import CAUSES, judge_causes, judging_exposures
from analysis.exposures._images import SessionImages
from analysis.exposures._pairs import find_pairs, join_pairs, nearest_earlier, shared_share
from analysis.exposures._session import Session

Keep = Literal["first", "unexposed", "none"]

RADIUS_SHARE = 0.45
"""Default radius in beam diameters: 0.9 of the beam's radius."""
_NAMES = ("name", "file", "session", "grid_square", "foil_hole", "area", "acquired")
_DIAMETER_DECIMALS = 4


@dataclass(frozen=True)
class Duplicates:
    """Exposures of places that were exposed before.

    Attributes
    ----------
    exposures
        One row an exposure, in order of acquisition: ``name, file, session, grid_square, foil_hole, area,
        acquired, beam_diameter_um, x_um, y_um`` (on the stage), ``stage_x_um, stage_y_um, group`` (-1 for none;
        from 0 in the order of their first exposures), ``bad, cause`` (``""`` for none), ``judged_by`` (row of
        the exposure that the cause was judged by, -1 for none) and ``foil_likeness`` (of the two foil-hole
        images; NaN where it was not looked at).
    table
        One row a member of a group, by group and acquisition: ``group, name, file, session, grid_square,
        foil_hole, area, acquired, x_um, y_um, bad, first_exposure`` (name of the group's first), ``distance_um``
        (to the nearest earlier member), ``overlap`` (share of its disc that the disc of that one covers, 0 to 1)
        and ``cause``. The last four are empty in the row of a group's first.
    beam_diameters
        ``beam_diameter_um, exposures``: the diameters found, NaN where EPU wrote none.
    pair_rows
        (pairs, 2) row numbers in ``exposures``, the earlier one first; sorted.
    pair_distances_um
        (pairs,) distances of their places.
    radius_um, radius_source
        Largest distance of a pair, and where that number is from.
    warnings
        Sentences about the result as a whole.
    settings
        The keyword arguments used.
    """

    exposures: pd.DataFrame
    table: pd.DataFrame
    beam_diameters: pd.DataFrame
    pair_rows: np.ndarray
    pair_distances_um: np.ndarray
    radius_um: float
    radius_source: str
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def bad(self) -> list[str]:
        """Names of the bad exposures, each once, in order of acquisition."""
        return list(dict.fromkeys(self.exposures["name"][self.exposures["bad"]]))

    @cached_property
    def squares(self) -> pd.DataFrame:
        """One row a grid square: ``session, grid_square, exposures, bad, bad_percent``."""
        by_square = self.exposures.groupby(["session", "grid_square"])["bad"].agg(["size", "sum"]).reset_index()
        squares = by_square.rename(columns={"size": "exposures", "sum": "bad"})
        return squares.assign(bad_percent=100 * squares["bad"] / squares["exposures"])

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """One row a pair, in the order of its first and then its second exposure.

        ``first, second`` (row numbers in ``exposures``, the earlier one first), ``first_name, second_name,
        distance_um, overlap`` (share of the second's disc that the first's covers), ``minutes_between,
        stage_moved_um, foil_likeness`` (NaN where it was not looked at) and ``cause`` (that of the second).
        """
        first, second = self.pair_rows.T
        before, after = (self.exposures.take(rows).reset_index(drop=True) for rows in (first, second))
        diameters = filled_diameters(self.exposures)
        return pd.DataFrame(
            {
                "first": first,
                "second": second,
                "first_name": before["name"],
                "second_name": after["name"],
                "distance_um": self.pair_distances_um,
                "overlap": shared_share(self.pair_distances_um, diameters[first], diameters[second]),
                "minutes_between": (after["acquired"] - before["acquired"]) / pd.Timedelta(minutes=1),
                "stage_moved_um": np.hypot(
                    after["stage_x_um"] - before["stage_x_um"], after["stage_y_um"] - before["stage_y_um"]
                ),
                "foil_likeness": after["foil_likeness"].where(after["judged_by"] == first),
                "cause": after["cause"],
            }
        )

    def summary(self) -> dict[str, Any]:
        """Return how many are bad, in how many groups, by which radius, and how often each cause was found."""
        bad = int(self.exposures["bad"].sum())
        found = self.table["cause"].value_counts()
        return {
            "exposures": len(self.exposures),
            "bad": bad,
            "bad_percent": 100 * bad / max(len(self.exposures), 1),
            "groups": int(self.exposures["group"].max() + 1) if len(self.exposures) else 0,
            "pairs": len(self.pair_rows),
            "radius_um": self.radius_um,
            "radius_source": self.radius_source,
            "causes": {cause: int(found.get(cause, 0)) for cause in CAUSES},
            "warnings": list(self.warnings),
        }


def find_duplicates(
    session: Session,
    calibration: Calibration,
    *,
    radius_um: float | None = None,
    keep: Keep = "first",
    images: SessionImages | None = None,
) -> Duplicates:
    """Find exposures of places that were exposed before.

    Exposures of one session that lie no further apart than the radius are pairs; what pairs join is a group.
    The likely cause of a member is judged by the earliest exposure within the radius (without one, by the nearest
    earlier member of the group), in this order:

    - *repeated shot*: the same shot area of the same foil hole;
    - *missed stage move*: another foil hole, whose image is the same picture;
    - *partial overlap*: the places are further apart than a quarter of the beam's diameter;
    - *missed stage move*: another foil hole, although the stage stands within 0.1 um of where it was;
    - *re-exposed hole*: else, such as a hole that was found again from another stage position.

    Parameters
    ----------
    session
        As `read_epu_session` returns it.
    calibration
        As `calibrate_beam_shift` or `assume_beam_shift` returns it: gives the places of the exposures.
    radius_um
        Largest distance of a pair in micrometres; None for 0.45 of the most frequent beam diameter.
    keep
        ``"first"``: the first exposure of a group is kept and later ones are bad. ``"unexposed"``: an exposure is
        bad when an earlier one lies within the radius, so in a chain more can be kept. ``"none"``: all members
        of groups are bad.
    images
        As `find_images` returns it, to compare foil-hole images; without it the stage alone tells a missed move.

    Returns
    -------
    Duplicates
        With the exposures in order of acquisition (equal times by name).

    Raises
    ------
    ValueError
        When the radius is not a number above 0, is not given and no beam diameter is known, or gives more than
        5 million pairs; when ``keep`` is none of the three.

    References
    ----------
    Radius and rule of the first exposure: find_dupl, https://github.com/afanasyevp/find_dupl. Groups are connected
    components, `scipy.sparse.csgraph.connected_components`, of pairs from `scipy.spatial.cKDTree`.

    Examples
    --------
    >>> from analysis.exposures import assume_beam_shift
    >>> from analysis.synthetic.exposures import draw_exposures
    >>> drawn = draw_exposures(grid_squares=1, missed_stage_moves=1, partial_overlaps=1, seed=1)
    >>> found = find_duplicates(drawn.session, assume_beam_shift(drawn.session, drawn.matrix))
    >>> found.table["cause"][found.table["bad"]].value_counts().to_dict()
    {'missed stage move': 3, 'partial overlap': 1}
    """
    if keep not in ("first", "unexposed", "none"):
        raise ValueError(f"keep must be first, unexposed or none; got {keep!r}.")
    rows, copies = leave_out_copies(session.exposures)
    diameters = _count_diameters(rows)
    radius, source = _choose_radius(radius_um, diameters)
    positions = np.asarray(calibration.positions(rows), dtype=float).reshape(-1, 2)
    pairs, distances = find_pairs(positions, pd.factorize(rows["session"])[0], radius)
    groups = join_pairs(pairs, len(rows))
    nearest, nearest_um = nearest_earlier(positions, groups, pairs, distances)
    exposures = rows[[*_NAMES, "beam_diameter_um", "stage_x_um", "stage_y_um"]].assign(
        x_um=positions[:, 0], y_um=positions[:, 1], group=groups, bad=_choose_bad(groups, pairs, keep)
    )
    discs = filled_diameters(exposures, otherwise=radius / RADIUS_SHARE)
    judged_by = judging_exposures(pairs, nearest)
    causes, likeness = judge_causes(exposures, judged_by, discs, images)
    exposures = exposures.assign(cause=causes, judged_by=judged_by, foil_likeness=likeness)
    return Duplicates(
        exposures=exposures,
        table=_list_members(exposures, nearest, nearest_um),
        beam_diameters=diameters,
        pair_rows=pairs,
        pair_distances_um=distances,
        radius_um=radius,
        radius_source=source,
        warnings=_warnings(exposures, copies, getattr(calibration, "warning", "")),
        settings={"radius_um": radius_um, "keep": keep},
    )


def leave_out_copies(rows: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the exposures without files that say again what another one said, and how many those were."""
    copies = rows["name"].duplicated(keep=False).to_numpy(copy=True)
    copies[copies] = rows[copies].duplicated(["session", "name", "acquired"]).to_numpy()
    return (rows[~copies].reset_index(drop=True) if copies.any() else rows), int(copies.sum())


def _count_diameters(rows: pd.DataFrame) -> pd.DataFrame:
    found = rows["beam_diameter_um"].round(_DIAMETER_DECIMALS)
    found = found.where(np.isfinite(found) & (found > 0)).value_counts(dropna=False).sort_index()
    return found.rename_axis("beam_diameter_um").reset_index(name="exposures")


def _most_frequent(diameters: pd.DataFrame) -> float:
    """Return the diameter of most exposures, the smallest of several; NaN when none is known."""
    known = diameters[diameters["beam_diameter_um"].notna()]
    return float(known["beam_diameter_um"].iloc[known["exposures"].argmax()]) if len(known) else np.nan


def filled_diameters(rows: pd.DataFrame, otherwise: float = np.nan) -> np.ndarray:
    """Return the beam diameters, (rows,), the most frequent one (or the one given) where none is known."""
    found = rows["beam_diameter_um"].to_numpy()
    known = np.isfinite(found) & (found > 0)
    if known.all():
        return found
    return np.where(known, found, _most_frequent(_count_diameters(rows)) if known.any() else otherwise)


def _choose_radius(radius_um: float | None, diameters: pd.DataFrame) -> tuple[float, str]:
    if radius_um is not None:
        number = isinstance(radius_um, int | float | np.number) and not isinstance(radius_um, bool)
        if not number or not 0 < radius_um < np.inf:
            raise ValueError(f"radius_um must be a number of micrometres above 0; got {radius_um!r}.")
        return float(radius_um), "given"
    diameter = _most_frequent(diameters)
    if np.isnan(diameter):
        if diameters["exposures"].sum() == 0:
            return np.nan, "no exposure"
        raise ValueError("radius_um must be given, for instance 0.4; got none, and no file says the beam's diameter.")
    count, total = diameters["exposures"][diameters["beam_diameter_um"].notna()].max(), diameters["exposures"].sum()
    words = f"{RADIUS_SHARE} x the beam diameter {diameter:g} um of {count:,} of {total:,} exposures"
    return RADIUS_SHARE * diameter, words


def _choose_bad(groups: np.ndarray, pairs: np.ndarray, keep: Keep) -> np.ndarray:
    bad = groups >= 0
    if keep == "unexposed":
        bad = np.zeros(len(groups), dtype=bool)
        bad[pairs[:, 1]] = True
    elif keep == "first":
        number, first = np.unique(groups, return_index=True)
        bad[first[number >= 0]] = False
    return bad


def _list_members(exposures: pd.DataFrame, nearest: np.ndarray, nearest_um: np.ndarray) -> pd.DataFrame:
    groups = exposures["group"].to_numpy()
    inside = np.flatnonzero(groups >= 0)
    inside = inside[np.argsort(groups[inside], kind="stable")]
    later = nearest[inside] >= 0
    firsts = inside[np.unique(groups[inside], return_index=True)[1]]
    discs = filled_diameters(exposures)
    members = exposures.take(inside)[["group", *_NAMES, "x_um", "y_um", "bad"]].reset_index(drop=True)
    first_names = exposures["name"].take(firsts[groups[inside]]).to_numpy()
    return members.assign(
        first_exposure=np.where(later, first_names, ""),
        distance_um=nearest_um[inside],
        overlap=np.where(later, shared_share(nearest_um[inside], discs[nearest[inside]], discs[inside]), np.nan),
        cause=exposures["cause"].to_numpy()[inside],
    )


def _warnings(exposures: pd.DataFrame, copies: int, of_calibration: str) -> tuple[str, ...]:
    found = [of_calibration] if of_calibration else []
    bad = int(exposures["bad"].sum())
    if 2 * bad > len(exposures):
        found.append(
            f"{bad:,} of {len(exposures):,} exposures are bad. So many are seldom true: the radius may be larger than "
            "the distance of neighbouring exposures, or the calibration wrong."
        )
    if copies:
        found.append(f"{copies:,} copies of files were left out: a copied file is no second exposure.")
    return tuple(found)
