"""The exposures instrument as a page: read an EPU session, calibrate it, find what was exposed twice, write lists."""

from __future__ import annotations

import asyncio
import functools
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import param

from analysis.exposures import (
    Duplicates,
    Session,
    find_duplicates,
    find_images,
    measure_predose,
    read_epu_session,
)
from analysis.synthetic.exposures import EXAMPLE_SESSION, draw_session
from dashboards.support.dashboard import build_page, serve_page, writes
from dashboards.support.exposures_controls import build_sidebar
from dashboards.support.exposures_report import write_exposures_report
from dashboards.support.exposures_settings import ALL, CALIBRATED_BY, SEARCHED_BY, ExposuresSettings
from dashboards.support.exposures_text import python_text, shell_text
from dashboards.support.exposures_views import build_main
from dashboards.support.exposures_words import REPORT, duplicates_sentence
from dashboards.support.exposures_work import (
    Calibrated,
    calibrate,
    files_written,
    has_pictures,
    keep_calibration,
    read_pictures,
    write_everything,
)
from dashboards.support.jobs import quiet, start
from dashboards.support.loading import in_thread

_GROWN = 1.2
_SETTLED_S = 0.4
_MOST_PICTURES = 4


class ExposuresDashboard(ExposuresSettings):
    """Exposures of an EPU session and what was shot twice, in a notebook cell or as a served page.

    Parameters
    ----------
    **params
        Any setting below by name; ``folder`` may be a path.

    Examples
    --------
    >>> ExposuresDashboard(folder="/data/session1", radius_mode="typed", radius_um=0.3)  # doctest: +SKIP
    """

    session = param.ClassSelector(class_=Session, doc="The session shown.")
    calibrated = param.ClassSelector(class_=Calibrated, doc="Its calibration and what is shown beside it.")
    result = param.ClassSelector(class_=Duplicates, doc="The duplicates shown.")
    predose = param.Parameter(default=None, doc="What each field of view had been exposed to before.")
    images = param.Parameter(default=None, doc="Pictures of the session.")
    looked_at = param.String(default="", doc="File of the exposure looked at; empty for none.")
    pictures = param.List(default=[], doc="Pictures of it and of its group.")
    focus = param.Parameter(default=None, doc="Place (x, y) in um that the map is asked to show closely, or None.")
    written = param.List(default=[], doc="Files written last.")

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.picture_job = self.new_job()
        self.param.watch(self._folder_changed, ["folder"])
        self.param.watch(self._calibration_changed, CALIBRATED_BY)
        self.param.watch(self._search, SEARCHED_BY)
        self.param.watch(self._looked_at_changed, ["looked_at"])
        self.param.watch(self._colour_changed, ["colour_by"])
        self.param.watch(self._watch_changed, ["watching"])
        self.param.watch(lambda _: setattr(self, "focus", None), ["grid_square"])
        self._searches, self._rounds = 0, 0
        self._holes, self._watch_error, self._news = 0, "", ""
        if self.folder:
            start(self.look_up_first)
        if self.watching:
            self._watch_changed()

    # ---- reading and calibrating -----------------------------------------------------------------------

    async def look_up(self) -> None:
        """Read the session and calibrate it."""
        folder = self.folder.strip()
        if not folder:
            self._forget()
            self.job.param.update(words="", error="")
            return
        known = self.session if self.session is not None and self.session.folder == Path(folder) else None
        if known is None:
            self._forget()  # what was found in another folder must not stand under this one's name
        read = functools.partial(read_epu_session, folder, known=known)
        session = await self.run_wide("Reading the session", read, folder)
        if session is None:
            return
        self._take(session)
        self.note(f"{len(session.exposures):,} exposures read from {folder}.")
        for warning in session.warnings:
            self.note(warning)
        await self.calibrate()

    def _forget(self) -> None:
        self._searches += 1  # causes that are still being judged are of the session that is gone
        nothing = dict.fromkeys(["session", "calibrated", "result", "predose", "images", "report"])
        self.param.update(**nothing, focus=None, looked_at="", pictures=[], written=[])

    def _take(self, session: Session) -> None:
        """Show a session with the calibration in hand."""
        squares = session.exposures[["session", "grid_square"]].drop_duplicates().itertuples(index=False)
        self.param.grid_square.objects = [ALL, *("/".join(filter(None, square)) for square in squares)]
        square = str(self.grid_square)  # a number in the page's address comes as one
        self.grid_square = square if square in self.param.grid_square.objects else ALL
        self.session = session
        self._search()

    async def calibrate(self) -> None:
        """Calibrate the session in the way chosen, and search it."""
        if self.session is None:
            return
        how = {
            "method": self.calibration,
            "hole_spacing_um": self.spacing_um,
            "k_um_per_unit": self.k_um_per_unit,
            "clusters": self.clusters,
            "matrix": self.matrix,
        }
        session = self.session
        done = await self.job.run("Calibrating", _calibrate_and_list, session, **how)
        if done is None:
            return
        calibrated, images = done
        self._holes = len(calibrated.calibration.holes)
        self.param.update(calibrated=calibrated, images=images, predose=None)
        self._search()
        self._colour_changed()

    def _folder_changed(self, *_: Any) -> None:
        if not self._loading:
            start(self.look_up)

    def _calibration_changed(self, *_: Any) -> None:
        if self.session is not None and not self._loading and not self._awaits_input():
            start(self.calibrate)

    def _awaits_input(self) -> bool:
        """Whether the way chosen needs something that was not typed yet."""
        return self.calibration == "matrix typed" and not self.matrix.strip()

    # ---- searching -------------------------------------------------------------------------------------

    def _search(self, *_: Any) -> None:
        """Find the duplicates of the session in hand; nothing is read."""
        if self.session is None or self.calibrated is None:
            return
        try:
            result = find_duplicates(self.session, self.calibrated.calibration, **self.settings)
        except ValueError as error:
            self.job.error = str(error)
            return
        self._searches += 1
        self._news = ""
        self._show(result)
        if len(result.table) and has_pictures(self.images):
            start(self.judge)

    def _show(self, result: Duplicates) -> None:
        gone = self.looked_at and not (result.exposures["file"] == self.looked_at).any()
        self.param.update(**({"result": result, "looked_at": ""} if gone else {"result": result}))
        if not self.job.busy:
            self.job.param.update(words=self._news + self.outcome(), error="")

    async def judge(self) -> None:
        """Judge the causes again by the foil-hole pictures, once the settings rest."""
        number = self._searches
        await asyncio.sleep(_SETTLED_S)
        if number != self._searches:
            return
        session, calibration, how = self.session, self.calibrated.calibration, self.settings
        try:
            result = await in_thread(find_duplicates, session, calibration, images=self.images, **how)
        except (ValueError, OSError) as error:
            self.job.error = str(error)
            return
        if number == self._searches and not self.job.closed:
            self._show(result)

    def outcome(self) -> str:
        """Say in a line what is shown."""
        return duplicates_sentence(self.result) if self.result is not None else ""

    # ---- looking at groups -----------------------------------------------------------------------------

    def shown(self) -> np.ndarray:
        """Tell which rows of the result belong to the grid square chosen."""
        exposures = self.result.exposures
        if self.grid_square == ALL:
            return np.ones(len(exposures), dtype=bool)
        names = exposures["session"].where(exposures["session"] == "", exposures["session"] + "/")
        return (names + exposures["grid_square"] == self.grid_square).to_numpy()

    def members(self) -> pd.DataFrame:
        """Return the rows of the duplicate group looked at, or of the one exposure when it stands alone."""
        if self.result is None or not self.looked_at:
            return pd.DataFrame()
        group = self.group()
        if group is None:
            exposures = self.result.exposures
            return exposures[exposures["file"] == self.looked_at]
        return self.result.table[self.result.table["group"] == group]

    def group(self) -> int | None:
        """Return the number of the duplicate group looked at."""
        if self.result is None or not self.looked_at:
            return None
        exposures = self.result.exposures
        found = exposures["group"].to_numpy()[(exposures["file"] == self.looked_at).to_numpy()]
        return int(found[0]) if len(found) and found[0] >= 0 else None

    def look_at_group(self, group: int) -> None:
        """Look at a duplicate group."""
        table = self.result.table
        members = table[table["group"] == group]
        place = (float(members["x_um"].mean()), float(members["y_um"].mean()))
        self.param.update(looked_at=str(members["file"].iloc[0]), focus=place)

    def step(self, by: int) -> None:
        """Look at the next duplicate group, or at the one before; among those of the grid square chosen."""
        if self.result is None:
            return
        groups = np.unique(self.result.exposures["group"].to_numpy()[self.shown()])
        groups = groups[groups >= 0]
        if not len(groups):
            return
        group = self.group()
        if group is None or group not in groups:
            self.look_at_group(groups[0 if by > 0 else -1])
        else:
            place = int(np.searchsorted(groups, group))
            self.look_at_group(int(groups[(place + by) % len(groups)]))

    def _looked_at_changed(self, *_: Any) -> None:
        self.pictures = []
        if self.looked_at and has_pictures(self.images):
            start(self.look_at_pictures)

    async def look_at_pictures(self) -> None:
        """Read the pictures of the exposures looked at."""
        files = list(self.members()["file"])[:_MOST_PICTURES]
        pictures = await self.picture_job.run("Reading pictures", read_pictures, self.images, files)
        if pictures is not None:
            self.pictures = pictures

    def _colour_changed(self, *_: Any) -> None:
        if self.colour_by == "pre-dose" and self.predose is None and self.calibrated is not None:
            start(self.measure_predose)

    async def measure_predose(self) -> None:
        """Find what each field of view had been exposed to before."""
        work = functools.partial(quiet(measure_predose), self.session, self.calibrated.calibration)
        predose = await self.job.run("Measuring the pre-dose", work)
        if predose is not None:
            self.predose = predose
            self.job.words = self._news + self.outcome()

    # ---- watching --------------------------------------------------------------------------------------

    def _watch_changed(self, *_: Any) -> None:
        self._rounds += 1  # ends the watch before
        if self.watching:
            self.note(f"Watching {self.folder or 'the folder'}, every {self.watch_interval_s:g} s.")
            start(self.follow)
        elif self._rounds > 1:
            self.note("Watching ended.")

    async def follow(self) -> None:
        """Look at the folder again and again, until watching is switched off or the page is closed."""
        number = self._rounds
        while True:
            await asyncio.sleep(self.watch_interval_s)
            if number != self._rounds or self.job.closed:
                return
            if self.folder.strip() and not self.job.busy:
                await self.look_again()

    async def look_again(self) -> None:
        """Take up exposures that arrived since, and say so."""
        before, folder = self.session, self.folder.strip()
        try:
            session, images, calibrated = await in_thread(_read_grown, folder, before, self.calibrated)
        except (ValueError, OSError) as error:
            self.job.error = self._watch_error = str(error)
            return
        if self.session is not before or self.job.closed:
            return
        if before is not None and _unchanged(before, session):
            if self.job.error == self._watch_error:
                self.job.error = ""
            return
        bad = set(self.result.bad) if self.result is not None else set()
        self.images = images
        if self.calibrated is not None:
            self.calibrated = calibrated
        self._take(session)
        await self._calibrate_when_grown()
        self._announce(before, session, bad)

    async def _calibrate_when_grown(self) -> None:
        """Calibrate again when there is no calibration yet, or many more holes than when it was made."""
        if self.calibrated is None:
            await self.calibrate()
            return
        if self.calibration != "automatic":
            return
        if len(self.calibrated.calibration.holes) > _GROWN * self._holes:
            await self.calibrate()
            self.note("Calibrated again, because many holes were added.")

    def _announce(self, before: Session | None, session: Session, bad_before: set[str]) -> None:
        arrived = len(session.exposures) - (len(before.exposures) if before is not None else 0)
        new_bad = [name for name in self.result.bad if name not in bad_before] if self.result is not None else []
        said = f"{arrived} new exposures" if arrived != 1 else "1 new exposure"
        if len(new_bad) == 1:
            said += f", and it is bad: {new_bad[0]}" if arrived == 1 else f"; new duplicate: {new_bad[0]}"
        elif new_bad:
            said += f"; {len(new_bad)} new duplicates, the last one {new_bad[-1]}"
        self.note(f"{said}.")
        self._news = f"{said}. "  # stays when the causes are judged a moment later
        self.job.words = self._news + self.outcome()

    # ---- writing ---------------------------------------------------------------------------------------

    def files_to_write(self) -> list[Path]:
        """Return what writing writes."""
        return files_written(
            self.root, rawdata=self.rawdata, montage=self._montage_wanted(), predose=self.predose is not None
        )

    def _montage_wanted(self) -> bool:
        return self.montage and len(self.result.table) > 0 and has_pictures(self.images)

    @writes
    async def write(self) -> None:
        """Write lists, tables, optics groups and montage."""
        if self.result is None:
            return
        work = functools.partial(
            write_everything,
            self.root,
            session=self.session,
            calibrated=self.calibrated,
            duplicates=self.result,
            images=self.images,
            predose=self.predose,
            rawdata=self.rawdata,
            montage=self._montage_wanted(),
            rescale=self.rescale,
        )
        done = await self.job.run("Writing files", work)
        if done is None:
            return
        self.written = done.files
        self.job.words = f"{len(done.files)} files written in {self.working_dir}."
        self.note(self.job.words)
        if done.problems:
            self.job.error = " ".join(done.problems)

    @writes
    async def write_report(self) -> Path | None:
        """Write what is shown as one HTML file in the output folder."""
        if self.result is None:
            return None
        return await self.save_report(
            Path(self.working_dir) / REPORT,
            write_exposures_report,
            self.session,
            self.calibrated.calibration,
            self.result,
            comparison=self.calibrated.comparison,
            images=self.images,
        )

    @writes(ends_with_page=True)
    async def load_example(self) -> None:
        """Draw a synthetic session in a temporary folder, calibrate it and show it."""
        folder = self.example_folder()
        draw = functools.partial(quiet(draw_session), folder / "session", **EXAMPLE_SESSION, images=True)
        if await self.job.run("Drawing a session", draw) is None:
            return
        with self.held():  # the session below is read once
            self.param.update(folder=str(folder / "session"), working_dir=str(folder / "exposures"))
        await self.look_up()

    # ---- the same elsewhere ----------------------------------------------------------------------------

    def code(self) -> str:
        """Return the Python text that gives what is shown."""
        return python_text(self)

    def command(self) -> str:
        """Return the shell line that writes the lists and tables shown."""
        return shell_text(self)

    # ---- on a page -------------------------------------------------------------------------------------

    def sidebar(self) -> list[pn.viewable.Viewable]:
        """Return the controls."""
        return build_sidebar(self)

    def main(self) -> pn.viewable.Viewable:
        """Return the pictures and tables."""
        return build_main(self)


def _calibrate_and_list(session: Session, *, progress: Any, cancel: Any, **how: Any) -> tuple[Calibrated, Any]:
    return calibrate(session, progress=progress, cancel=cancel, **how), find_images(session)


def _read_grown(folder: str, known: Session | None, calibrated: Calibrated | None) -> tuple[Session, Any, Any]:
    """Read a session again; with what hangs on it when something changed."""
    session = read_epu_session(folder, known=known)
    if known is not None and _unchanged(known, session):
        return session, None, None
    kept = keep_calibration(calibrated, session) if calibrated is not None else None
    return session, find_images(session), kept


def _unchanged(before: Session, now: Session) -> bool:
    """Whether nothing was added, changed or lost since a session was read."""
    return before.table[["file", "fingerprint", "error"]].equals(now.table[["file", "fingerprint", "error"]])


def build() -> pn.viewable.Viewable:
    """Return the served page, on the folders named by GRATICULE_EPU and GRATICULE_EPU_OUTPUT."""
    named = {"folder": os.environ.get("GRATICULE_EPU"), "working_dir": os.environ.get("GRATICULE_EPU_OUTPUT")}
    dashboard = ExposuresDashboard(**{name: value for name, value in named.items() if value}).sync_url()
    return build_page(dashboard, "Exposures", "exposures")


serve_page(__name__, "dashboards.exposures")
