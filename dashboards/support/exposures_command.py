"""``graticule exposures``: the exposures instrument on the command line, and ``find_dupl`` as a second name."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import App, Parameter

from analysis.exposures import (
    Calibration,
    Duplicates,
    Session,
    assign_optics_groups,
    assume_beam_shift,
    calibrate_beam_shift,
    clean_star,
    cluster_beam_shifts,
    find_duplicates,
    find_images,
    measure_predose,
    read_epu_session,
    watch_session,
    write_optics_star,
)
from analysis.tables import write_table
from analysis.tasks import Cancelled
from dashboards.support.acts import Outcome, Run, act
from dashboards.support.exposures_words import REPORT, duplicates_sentence
from dashboards.support.exposures_writing import (
    OUT,
    draw_montage,
    save_calibration,
    save_clusters_of,
    with_ending,
    write_lists,
)
from dashboards.support.find_dupl_command import SPELLINGS, doubts_about, find_dupl
from dashboards.support.options import comma_separated, options_for, settings_of_file

Matrix = Annotated[tuple[float, ...] | None, Parameter(converter=comma_separated(float, 4), n_tokens=1)]

app = App(name="exposures", help="Which cryo-EM micrographs were shot twice in one place?")
_calibration_options = {"leave_out": ("clusters", "n_init", "max_iter", "seed"), "spellings": SPELLINGS}


@act(calibrate_beam_shift, many=True, **_calibration_options)
def calibrate(
    run: Run,
    epudata: Path,
    *,
    k: float | None = None,
    clusters: int | None = None,
    matrix: Matrix = None,
    o: Path | None = None,
    **options: Any,
) -> Outcome:
    """Find what a unit of beam shift is on the stage.

    Parameters
    ----------
    epudata
        Folder of the EPU session.
    k
        Take this number for both axes, in um per unit of beam shift, and see how well it fits.
    clusters
        Sort beam shifts into so many clusters too, and take k from their distances; 0 finds how many.
    matrix
        Take this matrix, row by row, and see how well it fits.
    o
        How the names of tables and pictures start; nothing is written when not given.
    """
    spacing = options["hole_spacing_um"]
    session = read_epu_session(epudata, **run.work)
    chosen = choose_calibration(session, k=k, matrix=matrix, hole_spacing_um=spacing, run=run)
    summary = chosen.summary()
    files: list[Path] = []
    if clusters is not None:
        sorted_ = cluster_beam_shifts(
            session, clusters=clusters or None, hole_spacing_um=spacing_known(session, spacing)
        )
        summary["clusters"] = sorted_.summary()
        files += save_clusters_of(session, sorted_, o) if o is not None else []
    if o is not None:
        files += save_calibration(chosen, o)
    said = [*session.warnings, *filter(None, [summary.pop("warning")])]
    return Outcome(summary, files, session.problems, chosen.table.head(4), said)


def choose_calibration(
    session: Session,
    *,
    k: float | None = None,
    matrix: Sequence[float] | None = None,
    clusters: int | None = None,
    hole_spacing_um: float | None = None,
    run: Run | None = None,
) -> Calibration:
    """Calibrate by what was asked for: a number, a matrix, clusters, or the lattice of holes.

    Parameters
    ----------
    session
        As read.
    k, matrix, clusters
        At most one of them; the lattice tells when none is given. Four numbers make a matrix, row by row; 0 clusters
        finds how many.
    hole_spacing_um
        Distance of neighbouring holes, when known.
    run
        Tells progress and hears a request to stop.

    Raises
    ------
    ValueError
        When more than one is given, or clusters without a spacing.
    """
    given = [name for name, value in (("k", k), ("matrix", matrix), ("clusters", clusters)) if value is not None]
    if len(given) > 1:
        raise ValueError(f"one of k, matrix and clusters must be given at most; got {' and '.join(given)}.")
    if k is not None:
        return assume_beam_shift(session, k)
    if matrix is not None:
        return assume_beam_shift(session, np.reshape(matrix, (2, 2)))
    if clusters is not None:
        spacing = spacing_known(session, hole_spacing_um)
        if spacing is None:
            raise ValueError("hole_spacing_um must be given for k from clusters; EPU does not say it in this session.")
        return assume_beam_shift(
            session, cluster_beam_shifts(session, clusters=clusters or None, hole_spacing_um=spacing).k_um_per_unit
        )
    how = run.keywords if run is not None else {}
    return calibrate_beam_shift(session, hole_spacing_um=hole_spacing_um, **how)


def spacing_known(session: Session, hole_spacing_um: float | None) -> float | None:
    """Return the spacing given, or the one EPU was told."""
    return hole_spacing_um if hole_spacing_um is not None else session.hole_spacing_um


def _duplicates(
    run: Run,
    epudata: Path,
    *,
    k: float | None = None,
    clusters: int | None = None,
    matrix: Matrix = None,
    o: Path = OUT,
    rawdata: Path | None = None,
    montage: bool = False,
    rescale: bool = False,
    predose: bool = False,
    star: Path | None = None,
    watch: bool = False,
    interval_s: float = 5.0,
    idle_min: float | None = None,
    **options: Any,
) -> Outcome:
    """Find micrographs shot where another one had been, and write the lists of the bad ones.

    Parameters
    ----------
    epudata
        Folder of the EPU session.
    k
        Take this number for both axes, in um per unit of beam shift, instead of the lattice of holes.
    clusters
        Take k from so many clusters of beam shifts instead; 0 finds how many.
    matrix
        Take this matrix, row by row, instead.
    o
        How the names of the files start.
    rawdata
        Folder of the movies: their paths are listed too.
    montage
        Draw the pairs with their foil holes as PNG.
    rescale
        Draw them at half size.
    predose
        Measure how much of each field of view was exposed before.
    star
        STAR file of micrographs or particles, of which a copy without the bad ones is written.
    watch
        Go on while the session runs, and tell of new duplicates; Ctrl-C ends it.
    interval_s
        Seconds between looks.
    idle_min
        End the watch after so many minutes without a new exposure.
    """
    how = {"k": k, "matrix": matrix, "clusters": clusters, "hole_spacing_um": options["hole_spacing_um"]}
    how_to_find = options_for(find_duplicates, options)

    def look(session: Session, calibration: Calibration | None) -> tuple[Calibration, Duplicates, Outcome]:
        calibration = calibration or choose_calibration(session, **how, run=run)
        images = find_images(session)
        found = find_duplicates(session, calibration, images=images, **how_to_find)
        measured = measure_predose(session, calibration) if predose else None
        run.check()
        # a STAR file that cannot be used is said before anything is written
        cleaned = clean_star(star, found, with_ending(o, "_cleaned.star")) if star is not None else None
        files, said = write_lists(found, session, o, rawdata=rawdata, predose=measured)
        summary = {**found.summary(), "calibration": calibration.summary()}
        if measured is not None:
            summary["predose"] = measured.summary()
        if montage or rescale:
            run.check()
            said += draw_montage(found, images, o, files, halved=rescale)
        if cleaned is not None:
            summary["star"] = cleaned.summary()
            files.append(cleaned.path)
        doubts = doubts_about(session, calibration) if calibration.method == "scalar" and not watch else []
        said = [*session.warnings, *summary.pop("warnings"), *said, *doubts]
        return calibration, found, Outcome(summary, files, session.problems, found.squares, said)

    if watch:
        return watch_for_duplicates(run, epudata, look, interval_s=interval_s, idle_min=idle_min)
    return look(read_epu_session(epudata, **run.work), None)[2]


@functools.wraps(_duplicates)
def _watch(run: Run, **options: Any) -> Outcome:
    return _duplicates(run, **{**options, "watch": True})


_watch.__doc__ = (_duplicates.__doc__ or "").replace(
    "Find micrographs shot where another one had been, and write the lists of the bad ones.",
    "Find micrographs shot where another one had been while a session runs; Ctrl-C ends it.",
)
_search_options = {"leave_out": ("images",), "spellings": SPELLINGS}
duplicates = act(find_duplicates, calibrate_beam_shift, many=True, **_search_options)(_duplicates)
watch = act(find_duplicates, calibrate_beam_shift, **_search_options)(_watch)


def watch_for_duplicates(
    run: Run,
    folder: Path,
    look: Callable[[Session, Calibration | None], tuple[Calibration, Duplicates, Outcome]],
    *,
    interval_s: float,
    idle_min: float | None,
) -> Outcome:
    """Look again whenever a session has changed, and print what is new, a line for each exposure.

    The calibration is made anew when the foil holes have become a fifth more, and kept in between.

    Parameters
    ----------
    run
        Ends the watch when it is asked to stop.
    folder
        Of the session.
    look
        Finds duplicates and writes the lists.
    interval_s
        Seconds between looks.
    idle_min
        Minutes without a new exposure that end the watch; None never does.

    Returns
    -------
    Outcome
        Of the last look.
    """
    if idle_min is not None and not idle_min > 0:
        raise ValueError(f"idle_min must be a number of minutes above 0; got {idle_min}.")
    calibration, holes, told, outcome = None, 0, set(), Outcome({"exposures": 0, "bad": 0})
    alarm = _alarm(idle_min, run)
    for session in watch_session(folder, interval_s=interval_s, cancel=run.cancel):
        alarm.cancel()
        now = session.summary()["foil_holes"]
        try:
            calibration, found, outcome = look(session, calibration if now < 1.2 * holes else None)
        except Cancelled:
            break
        except ValueError as error:
            # too few exposures so far, most often
            print(f"{len(session.exposures)} exposures: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        else:
            holes = now if now >= 1.2 * holes else holes
            print(duplicates_sentence(found), file=sys.stderr, flush=True)
            for row in found.table[found.table["bad"] & ~found.table["name"].isin(told)].itertuples():
                print(f"new: {row.name}, {row.cause}, where {row.first_exposure} was", file=sys.stderr, flush=True)
            told |= set(found.bad)
        alarm = _alarm(idle_min, run)
    alarm.cancel()
    return outcome


def _alarm(idle_min: float | None, run: Run) -> threading.Timer:
    """Ask the watch to end after a while in which nothing came."""
    alarm = threading.Timer((idle_min or 0) * 60, run.cancel.set)
    alarm.daemon = True
    if idle_min is not None:
        alarm.start()
    return alarm


@act(calibrate_beam_shift, many=True, spellings=SPELLINGS)
def groups(
    run: Run,
    epudata: Path,
    *,
    k: float | None = None,
    matrix: Matrix = None,
    o: Path = OUT,
    movie: str = "{name}_fractions.tiff",
    spherical_aberration_mm: float = 2.7,
    amplitude_contrast: float = 0.1,
    voltage_kv: float | None = None,
    pixel_size_angstrom: float | None = None,
    **options: Any,
) -> Outcome:
    """Sort micrographs into optics groups, and write them as CSV and as STAR for RELION.

    Parameters
    ----------
    epudata
        Folder of the EPU session.
    k
        Take this number for both axes, in um per unit of beam shift, instead of the lattice of holes.
    matrix
        Take this matrix, row by row, instead.
    o
        How the names of the files start.
    movie
        Path of a movie in the STAR file, with {name} for the exposure's name.
    spherical_aberration_mm, amplitude_contrast
        Of the microscope; EPU does not write them.
    voltage_kv, pixel_size_angstrom
        In place of what EPU wrote.
    """
    session = read_epu_session(epudata, **run.work)
    chosen = choose_calibration(session, k=k, matrix=matrix, hole_spacing_um=options["hole_spacing_um"], run=run)
    sorted_ = assign_optics_groups(session, chosen)
    microscope = {
        "spherical_aberration_mm": spherical_aberration_mm,
        "amplitude_contrast": amplitude_contrast,
        "voltage_kv": voltage_kv,
        "pixel_size_angstrom": pixel_size_angstrom,
    }
    files = [
        write_table(sorted_.table, with_ending(o, "_optics_groups.csv")),
        write_optics_star(sorted_, session, with_ending(o, "_optics_groups.star"), movie=movie, **microscope),
    ]
    summary = {**sorted_.summary(), "calibration": chosen.summary()}
    said = [*session.warnings, *filter(None, [chosen.warning])]
    return Outcome(summary, files, session.problems, sorted_.centres, said)


@act(find_duplicates, calibrate_beam_shift, many=True, **_search_options)
def report(
    run: Run,
    epudata: Path,
    *,
    k: float | None = None,
    matrix: Matrix = None,
    output: Path = Path(REPORT),
    **options: Any,
) -> Outcome:
    """Write calibration, map and duplicates as one HTML file that opens without a network.

    Parameters
    ----------
    epudata
        Folder of the EPU session.
    k
        Take this number for both axes, in um per unit of beam shift, instead of the lattice of holes.
    matrix
        Take this matrix, row by row, instead.
    output
        The file.
    """
    # Bokeh takes a second to import, and only this act needs it
    from dashboards.support.exposures_report import write_exposures_report

    session = read_epu_session(epudata, **run.work)
    chosen = choose_calibration(session, k=k, matrix=matrix, hole_spacing_um=options["hole_spacing_um"], run=run)
    other = assume_beam_shift(session, chosen.k_um_per_unit) if chosen.method != "scalar" else None
    images = find_images(session)
    found = find_duplicates(session, chosen, images=images, **options_for(find_duplicates, options))
    write_exposures_report(output, session, chosen, found, comparison=other, images=images)
    return Outcome({**found.summary(), "calibration": chosen.summary()}, [output], session.problems)


def _command(function: Any, name: str | tuple[str, ...]) -> None:
    app.command(App(name=name, default_command=function, config=settings_of_file, help=function.__doc__))


_command(calibrate, "calibrate")
_command(duplicates, "duplicates")
_command(groups, "groups")
_command(watch, "watch")
_command(report, "report")
_command(find_dupl, "find_dupl")
