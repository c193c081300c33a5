"""Small data of all instruments, and their pages opened on them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from analysis.synthetic.circles import draw_acquisitions
from analysis.synthetic.exposures import draw_session
from analysis.synthetic.flatfield import draw_cohort
from analysis.synthetic.texture import draw_tile_set
from analysis.synthetic.tiles import draw_images
from dashboards.circles import CirclesDashboard
from dashboards.exposures import ExposuresDashboard
from dashboards.flatfield import FlatfieldDashboard
from dashboards.support.dashboard import Dashboard
from dashboards.texture import TextureDashboard
from dashboards.tiles import TilesDashboard

PAGES = {
    "flatfield": FlatfieldDashboard,
    "tiles": TilesDashboard,
    "circles": CirclesDashboard,
    "exposures": ExposuresDashboard,
    "texture": TextureDashboard,
}
SMALL = {
    "flatfield": {},
    "tiles": {"tile_size": 64, "overlap": 16},
    "circles": {},
    "exposures": {},
    "texture": {"grid_rows": 8, "grid_columns": 8},
}
ARGUMENTS = {
    # of the public acts that need some
    "look_at_pair": (), "show_model": ("v1",), "upload_labels": (b"", "labels.csv"), "find_similar": (0,),
    "load_labels": ("labels.csv",), "save_labels": ("labels.csv",),
}  # fmt: skip


def draw_all(folder: Path) -> Path:
    """Draw the data of every instrument, each in a folder of its name."""
    draw_cohort(folder / "flatfield", seed=3, shape=(24, 34, 35), sizes=(2, 1), outliers=0)
    draw_images(folder / "tiles", count=3, shape=(150, 200), cells=3, seed=2)
    draw_acquisitions(folder / "circles", dates=("20180401", "20180402"), fields=1, shape=(160, 200), seed=4)
    draw_session(folder / "exposures", grid_squares=1, stage_positions=6, groups=5, shots=2, seed=5)
    draw_tile_set(folder / "texture", tiles=(2, 2), shape=(128, 160), seed=1)
    return folder


def source(data: Path, instrument: str) -> dict[str, Any]:
    """What the page of an instrument opens."""
    return {
        "flatfield": {"roots": [str(path.parent) for path in sorted(data.glob("flatfield/*/sampledef.csv"))]},
        "tiles": {"folder": data / "tiles" / "images"},
        "circles": {"folder": data / "circles" / "acquisitions"},
        "exposures": {"folder": data / "exposures"},
        "texture": {"folder": data / "texture" / "tiles"},
    }[instrument]


def open_page(data: Path, instrument: str, **settings: Any) -> Dashboard:
    """Open a page on the data, ready for its acts."""
    made = PAGES[instrument](**source(data, instrument), **SMALL[instrument], **settings)
    if instrument == "flatfield":
        made.version = "v1"
    if instrument == "texture":
        made.label([0], "a")
    if instrument == "exposures":
        made.looked_at = made.result.exposures["file"].iloc[0]
    return made


def begin(made: Dashboard, name: str) -> Any:
    """Return the coroutine of an act."""
    arguments = (["csv"],) if (name, type(made)) == ("export", TextureDashboard) else ARGUMENTS.get(name, ())
    return getattr(made, name)(*arguments)


def errors(made: Dashboard) -> str:
    """What all jobs of a page say went wrong."""
    return " ".join(job.error for job in made._jobs if job.error)


def do(made: Dashboard, name: str) -> str:
    """Do an act to its end, and return what it says went wrong."""
    asyncio.run(begin(made, name))
    return errors(made)
