"""The settings of the circles page, and what they are as keyword arguments of the library."""

from __future__ import annotations

from typing import Any

import param

from analysis.circles import LEVELS
from dashboards.support.dashboard import Dashboard
from dashboards.support.path_settings import ReadPath, WorkFolder

DETECTED_BY = ["radius_unit", "radius_px", "radius_um", "pixel_size_um", "strictness", "polarity"]
PLANNED_BY = [*DETECTED_BY, "qc", "redo", "retry"]
COUNTED_BY = ["value", "other_value", "by", "baseline", "spread", "filters", "between", "results"]
VALUES = ["R", "Mean Intensity"]


class CirclesSettings(Dashboard):
    """What a person chooses: the acquisitions, what a circle is, what is shown, and what is counted."""

    in_url = (
        "folder", "output", "levels", *DETECTED_BY, "qc", "image", "contrast", "value", "other_value", "by",
        "baseline", "spread", "subject", "experiment", "filters", "between",
    )  # fmt: skip

    folder = ReadPath(default="", label="Folder of acquisitions", doc="With a folder for each level.")
    output = WorkFolder(default="circles", label="Output folder", doc="Not inside the acquisitions.")
    levels = param.String(default=", ".join(LEVELS), label="What the folders stand for", doc="Outermost first.")

    radius_unit = param.Selector(default="px", objects=["px", "µm"], label="Unit")
    radius_px = param.Range(default=(8.0, 80.0), bounds=(3, 250), label="Radius (px)")
    radius_um = param.Range(default=(2.0, 20.0), bounds=(0.1, 200), label="Radius (µm)")
    pixel_size_um = param.Number(default=None, bounds=(0, None), inclusive_bounds=(False, True), allow_None=True,
                                 label="Pixel size (µm), if files do not say")  # fmt: skip
    strictness = param.Number(default=0.3, bounds=(0.0, 1.0), label="Strictness")
    polarity = param.Selector(
        default="either", objects={"bright or dark": "either", "bright": "bright", "dark": "dark"}, label="Circles are"
    )
    qc = param.Selector(default="png", objects={"PNG": "png", "JPEG": "jpeg", "none": "none"}, label="QC pictures")
    redo = param.Boolean(default=False, label="Do everything again")
    retry = param.Boolean(default=False, label="Try failed images again")

    image = param.String(default="", label="Image shown")
    contrast = param.Range(default=(0.0, 100.0), bounds=(0, 100), label="Contrast (percentiles)")
    experiment = param.String(default="", label="Experiment")

    value = param.Selector(default="R", objects=[*VALUES], label="Value", check_on_set=False)
    other_value = param.Selector(default="Mean Intensity", objects=[*VALUES], label="Second value", check_on_set=False)
    by = param.Selector(default="Subject", objects=["", "Subject"], label="Groups", check_on_set=False)
    baseline = param.Integer(
        default=0,
        bounds=(0, None),
        label="Baseline dates",
        doc="The first ones, which make the limits; 0: all before the last.",
    )
    spread = param.Selector(
        default="auto",
        objects={"automatic": "auto", "how experiments differ": "experiments", "how dates differ": "dates"},
        label="Limits from",
    )
    subject = param.String(default="", label="Subject charted")
    filters = param.Dict(default={}, doc="Names kept, by level.")
    between = param.Dict(default={}, doc="Lowest and highest value kept, by column.")

    @property
    def level_names(self) -> tuple[str, ...]:
        """What the folders stand for."""
        return tuple(name.strip() for name in self.levels.split(",") if name.strip())

    @property
    def detection(self) -> dict[str, Any]:
        """Keyword arguments of `detect_circles` as they stand."""
        in_um = self.radius_unit == "µm"
        return {
            "radius_px": tuple(map(float, self.radius_px)) if not in_um else (8.0, 80.0),
            "radius_um": tuple(map(float, self.radius_um)) if in_um else None,
            "pixel_size_um": self.pixel_size_um,
            "strictness": self.strictness,
            "polarity": self.polarity,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `run_pipeline` as they stand."""
        return {"levels": self.level_names, **self.detection, "qc": self.qc, "redo": self.redo, "retry": self.retry}
