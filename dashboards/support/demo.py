"""``graticule demo``: sample data with its truth, every step of every instrument on it, and the pages to look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from cyclopts import App

from analysis.files import whole_file
from dashboards.support.acts import Outcome, Run, act, print_outcome
from dashboards.support.options import settings_of_file

MARK = "drawn.json"
"""File that tells data of a demonstration from a person's own."""

app = App(name="demo")


@dataclass(frozen=True)
class Demo:
    """What the demonstration of an instrument made.

    Attributes
    ----------
    opened
        Environment variables that tell the pages what to open first.
    files
        What was written: words and path.
    summary
        Numbers of each step.
    """

    opened: dict[str, str]
    files: list[tuple[str, Path]]
    summary: dict[str, Any]


def make_demo(folder: Path, run: Run) -> dict[str, Demo]:
    """Run every instrument on sample data.

    Parameters
    ----------
    folder
        Each instrument has a folder in it, new or from an earlier demonstration.
    run
        Tells progress and hears a request to stop.

    Returns
    -------
    dict
        What each instrument made, by its name.

    Raises
    ------
    ValueError
        When a folder holds other data.
    """
    # the instruments bring their packages with them
    from dashboards.support.circles_demo import make_circles_demo
    from dashboards.support.exposures_demo import make_exposures_demo
    from dashboards.support.flatfield_demo import make_flatfield_demo
    from dashboards.support.texture_demo import make_texture_demo
    from dashboards.support.tiles_demo import make_tiles_demo

    makers = {
        "flatfield": make_flatfield_demo,
        "tiles": make_tiles_demo,
        "circles": make_circles_demo,
        "exposures": make_exposures_demo,
        "texture": make_texture_demo,
    }
    return {name: make(Path(folder) / name, run) for name, make in makers.items()}


def draw_once(
    folder: Path, drawn: dict[str, Any], run: Run, words: str, draw: Callable[[Path], list[str]]
) -> list[str]:
    """Draw sample data, unless the same is there from last time.

    Parameters
    ----------
    folder
        Of the data alone.
    drawn
        What tells these data from others, as JSON can hold it.
    run
        Tells progress.
    words
        What is done, for the progress.
    draw
        Called with the folder; returns the names of what it made there.

    Returns
    -------
    list of str
        What ``draw`` returned, now or last time.

    Raises
    ------
    ValueError
        When the folder holds anything else.
    """
    mark = folder / MARK
    wanted = json.loads(json.dumps(drawn))
    known = json.loads(mark.read_text(encoding="utf-8")) if mark.exists() else None
    if known is not None and known.get("drawn") == wanted and all((folder / name).exists() for name in known["names"]):
        return known["names"]
    if known is None and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} must be empty or from an earlier demo; it holds other files. Choose another --dir.")
    run.progress(0, 1, words)
    names = draw(folder)
    with whole_file(mark, "w", encoding="utf-8") as handle:
        json.dump({"drawn": wanted, "names": names}, handle)
    run.progress(1, 1, words)
    return names


@act()
def demo(run: Run, *, dir: Path = Path("demo"), serve: bool = True, port: int = 5006) -> Outcome:
    """Make sample data, run the instruments on it, and serve them.

    Parameters
    ----------
    dir
        Folder for data and results; made when missing.
    serve
        Serve the pages afterwards, until Ctrl-C.
    port
        Port of the pages; 0 takes any free one.
    """
    # reports take the packages of all instruments with them
    from dashboards.support.gathering import gather_reports

    made = make_demo(dir, run)
    run.progress.close()
    written = [line for each in made.values() for line in each.files]
    reports = [path for _, path in written if path.suffix == ".html"]
    written.append(("all reports in one", gather_reports(reports, dir / "reports.html", title="Demonstration")))
    files = pd.DataFrame(written, columns=["what", "file"])
    outcome = Outcome({name: each.summary for name, each in made.items()}, table=files)
    if serve:
        from dashboards.support.serving import serve as serve_pages

        print_outcome(outcome)
        serve_pages(opened=opened_by(made), port=port)
        return Outcome({})
    return outcome


def opened_by(made: dict[str, Demo]) -> dict[str, str]:
    """Return the environment variables that open what a demonstration made."""
    return {name: value for each in made.values() for name, value in each.opened.items()}


app.default(demo)
app.config = settings_of_file
