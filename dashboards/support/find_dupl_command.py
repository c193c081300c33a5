"""``find_dupl`` with the options of the program of that name; the same as `graticule exposures find_dupl`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.exposures import (
    SPACINGS_UM,
    Calibration,
    Session,
    assume_beam_shift,
    calibrate_beam_shift,
    cluster_beam_shifts,
    find_duplicates,
    find_images,
    read_epu_session,
)
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.exposures_writing import OUT, draw_montage, save_clusters_of, write_lists

SPELLINGS = {
    "hole_spacing_um": ("--spacing",),
    "radius_um": ("--rad",),
    "rescale": ("--rescale", "--resize"),
    "n_init": ("--n_init",),
    "max_iter": ("--max_iter",),
}
"""Names that find_dupl has for these options, and short ones."""


@act(spellings=SPELLINGS)
def find_dupl(
    run: Run,
    *,
    epudata: Path = Path(),
    clusters: int = 9,
    k: float | None = None,
    rad: float | None = None,
    montage: bool = False,
    rescale: bool = False,
    rawdata: Path | None = None,
    o: Path = OUT,
    n_init: int = 10,
    max_iter: int = 300,
) -> Outcome:
    """Run either step of find_dupl: without k clusters of beam shifts, with it the search for duplicates.

    Parameters
    ----------
    epudata
        Folder of the EPU session.
    clusters
        How many clusters the beam shifts are sorted into.
    k
        Um on the stage for a unit of beam shift, the same for both axes.
    rad
        Radius of search in um; 0.9 of the beam's radius when not given.
    montage
        Draw the pairs as PNG.
    rescale
        Draw them at half size.
    rawdata
        Folder of the movies: their paths are listed too.
    o
        How the names of the files start.
    n_init, max_iter
        Starts of k-means, and rounds of each.
    """
    session = read_epu_session(epudata, **run.work)
    if k is None:
        return _first_step(session, o, clusters=clusters, n_init=n_init, max_iter=max_iter)
    chosen = assume_beam_shift(session, k)
    images = find_images(session)
    found = find_duplicates(session, chosen, radius_um=rad, images=images)
    files, said = write_lists(found, session, o, rawdata=rawdata)
    if montage or rescale:
        said += draw_montage(found, images, o, files, halved=rescale)
    summary = found.summary()
    said = [*session.warnings, *summary.pop("warnings"), *said, *doubts_about(session, chosen)]
    return Outcome(summary, files, session.problems, warnings=said)


def _first_step(session: Session, root: Path, **how: Any) -> Outcome:
    """Clusters of beam shifts with the matrix of their distances, as find_dupl prints it."""
    found = cluster_beam_shifts(session, hole_spacing_um=session.hole_spacing_um, **how)
    names = [str(number) for number in range(len(found.centres))]
    matrix = pd.DataFrame(np.round(found.distances, 3), columns=names)
    matrix.insert(0, "cluster", names)
    warnings = list(session.warnings)
    try:
        fitted = calibrate_beam_shift(session)
        warnings.append(
            f"The lattice of holes gives k {fitted.k_um_per_unit:.2f} at {fitted.angle_deg:.1f} deg"
            f"{', mirrored' if fitted.mirrored else ''}, with {fitted.groups} groups: `graticule exposures duplicates` "
            "uses it without a further step."
        )
        warnings += filter(None, [fitted.warning])
    except ValueError as error:
        warnings.append(str(error))
    summary = found.summary()
    if found.hole_spacing_um is None:
        # what the manual has people work out by hand
        by_foil = {foil: spacing / summary["mean_of_neighbours"] for foil, spacing in SPACINGS_UM.items()}
        summary["k_um_per_unit"] = {f"{foil} ({SPACINGS_UM[foil]:g} um)": k for foil, k in by_foil.items()}
    return Outcome(summary, save_clusters_of(session, found, root), session.problems, matrix, warnings)


def doubts_about(session: Session, scalar: Calibration) -> list[str]:
    """Say when the lattice of holes speaks against one number for both axes."""
    try:
        fitted = calibrate_beam_shift(session)
    except ValueError:
        return []
    if not scalar.residual_um > 2 * fitted.residual_um:
        return []
    turned = f"turned by {fitted.angle_deg:.1f} deg{' and mirrored' if fitted.mirrored else ''}"
    return [
        f"The axes of the beam shift are {turned} on this stage: with one k for both, holes are "
        f"{scalar.residual_um:.2f} um from their lattice, with the matrix {fitted.residual_um:.2f} um. Expect "
        "wrong and missing duplicates; leave k out and run `graticule exposures duplicates`."
    ]
