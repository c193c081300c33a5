"""The settings of the exposures page, and what they are as keyword arguments of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import param

from analysis.exposures import SPACINGS_UM
from dashboards.support.dashboard import Dashboard
from dashboards.support.exposures_work import SPACING_BOUNDS_UM
from dashboards.support.path_settings import FileStem, ReadPath, WorkFolder

ALL = "all"
CALIBRATED_BY = ["calibration", "hole_spacing", "hole_spacing_um", "k_um_per_unit", "clusters", "matrix"]
SEARCHED_BY = ["radius_mode", "radius_um", "keep"]
DRAWN_BY = ["grid_square", "colour_by"]
WRITTEN_BY = ["working_dir", "out", "rawdata", "montage", "rescale"]


class ExposuresSettings(Dashboard):
    """What a person chooses: the session, its calibration, what counts as shot twice, what is shown and written."""

    in_url = ("folder", *CALIBRATED_BY, *SEARCHED_BY, *DRAWN_BY, *WRITTEN_BY, "watching", "watch_interval_s")

    folder = ReadPath(default="", label="Session folder", doc="Folder with Images-Disc1, or one above it.")
    calibration = param.Selector(
        default="automatic",
        objects={
            "automatic, from the holes": "automatic",
            "k typed": "k typed",
            "k from clusters": "clusters",
            "matrix typed": "matrix typed",
        },
        label="Calibration",
    )
    hole_spacing = param.Selector(
        default="unknown",
        objects={
            "unknown": "unknown",
            **{f"{foil}, {spacing:g} µm": foil for foil, spacing in SPACINGS_UM.items()},
            "typed": "typed",
        },
        label="Hole spacing",
    )
    # numbers out of range are taken, so that the search says on the page what is wrong with them
    hole_spacing_um = param.Number(default=2.5, softbounds=SPACING_BOUNDS_UM, label="Hole spacing (µm)")
    k_um_per_unit = param.Number(default=25.0, softbounds=(0.1, 1000), label="k (µm per unit)")
    clusters = param.Integer(default=0, softbounds=(0, 500), label="Clusters (0 finds them)")
    matrix = param.String(default="", label="Matrix, four numbers (µm per unit)", doc="Row by row.")
    radius_mode = param.Selector(
        default="automatic", objects={"0.45 of the beam diameter": "automatic", "typed": "typed"}, label="Search radius"
    )
    radius_um = param.Number(default=0.4, softbounds=(0.01, 50), label="Radius (µm)")
    keep = param.Selector(
        default="first",
        objects={
            "first of each group": "first",
            "all on unexposed ground": "unexposed",
            "none of a group": "none",
        },
        label="Keep",
    )
    grid_square = param.Selector(default=ALL, objects=[ALL], label="Grid square", check_on_set=False)
    colour_by = param.Selector(
        default="state",
        objects={
            "duplicates only": "state",
            "optics group": "optics group",
            "time": "time",
            "pre-dose": "pre-dose",
        },
        label="Colour",
    )
    watching = param.Boolean(default=False, label="Watch the folder")
    watch_interval_s = param.Number(default=5.0, bounds=(0.1, 3600), label="Look again after (s)")
    working_dir = WorkFolder(default="exposures", label="Output folder", doc="Where files are written.")
    out = FileStem(default="duplicates", label="Files begin with")
    rawdata = ReadPath(default="", label="Folder of the movies", doc="To list their full paths.")
    montage = param.Boolean(default=True, label="Montage of the pairs (PNG)")
    rescale = param.Boolean(default=False, label="Montage in half size")

    @property
    def spacing_um(self) -> float | None:
        """The hole spacing chosen, or None."""
        if self.hole_spacing == "unknown":
            return None
        return self.hole_spacing_um if self.hole_spacing == "typed" else SPACINGS_UM[self.hole_spacing]

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `find_duplicates` as they stand."""
        return {"radius_um": self.radius_um if self.radius_mode == "typed" else None, "keep": self.keep}

    @property
    def root(self) -> Path:
        """What the names of all files written begin with."""
        return Path(self.working_dir) / (self.out or "duplicates")
