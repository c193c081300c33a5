"""The settings of the flatfield page, and what they are as keyword arguments of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import param

from dashboards.support.dashboard import Dashboard
from dashboards.support.flatfield_words import MODEL_TABLE
from dashboards.support.path_settings import ReadPaths, WorkFolder

ONE_LAYER = "one layer"
LOOKED_UP_BY = ["roots", "sample_regex", "meanimage_folder", "min_images_stacked", "working_dir"]
DRAWN_BY = ["sort_by", "layers", "layer", "bounds", "lines", "lines_after", "threshold"]


class FlatfieldSettings(Dashboard):
    """What a person chooses: the slides, how their comparison is drawn and grouped, how a model is made."""

    in_url = (*LOOKED_UP_BY, *DRAWN_BY, "smoothing", "smoothing_sigma_px")

    roots = ReadPaths(default="", label="Roots, one folder a line", doc="Folders with a sampledef.csv.")
    sample_regex = param.String(default="", label="Slide pattern", doc="Regular expression, from the ID's start.")
    meanimage_folder = param.Selector(default="meanimage", objects=["meanimage", "meanimage_from_fw_files"])
    min_images_stacked = param.Integer(default=0, bounds=(0, None), label="Minimum images stacked")
    working_dir = WorkFolder(default="meanimagecomparison", label="Working folder", doc="Where results are kept.")
    sort_by = param.Selector(
        default="project-cohort-batch",
        objects={"project, cohort, batch": "project-cohort-batch", "slide name": "order", "likeness": "likeness"},
        label="Order",
    )
    layers = param.Selector(default="all", objects=["all"], label="Layers", check_on_set=False)
    layer = param.Integer(default=1, bounds=(1, None), label="Layer")
    bounds = param.Range(default=(0.85, 1.15), bounds=(0.5, 1.5), step=0.01, label="Colour bounds")
    lines = param.Selector(
        default="project-cohort-batch",
        objects={"project, cohort, batch": "project-cohort-batch", "named slides": "named", "none": "none"},
        label="Dividing lines after",
    )
    lines_after = param.ListSelector(default=[], objects=[], label="Lines after slides", check_on_set=False)
    threshold = param.Number(
        default=0.05, bounds=(0.005, 0.5), step=0.005, label="Largest distance in a group", doc="Of |value - 1|."
    )
    version = param.String(default="", label="Version tag", doc="Such as v1.1.")
    members = param.Selector(default="all shown", objects=["all shown"], label="Slides", check_on_set=False)
    smoothing = param.Selector(default="astropath", objects=["astropath", "edge-aware"], label="Smoothing")
    smoothing_sigma_px = param.Number(
        default=100.0, bounds=(0, None), inclusive_bounds=(False, True), label="Smoothing sigma (px)"
    )
    skip_creation = param.Boolean(default=False, label="Only register, make no model")
    replace = param.Boolean(default=False, label="Replace the version if it exists")

    @property
    def root_list(self) -> list[str]:
        """The folders typed."""
        return [line.strip() for line in self.roots.splitlines() if line.strip()]

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `compare_mean_images` as they stand."""
        return {
            "sample_regex": self.sample_regex or None,
            "meanimage_folder": self.meanimage_folder,
            "min_images_stacked": self.min_images_stacked,
            "working_dir": self.working_dir or None,
        }

    @property
    def layer_choice(self) -> str | int:
        """What `choose_layers` is asked for."""
        return self.layer if self.layers == ONE_LAYER else self.layers

    @property
    def model_table(self) -> Path:
        """Table of registered versions."""
        return Path(self.working_dir) / MODEL_TABLE
