"""The settings of the texture page, and what they are as keyword arguments of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import param

from analysis.texture import HAVE_UMAP, METHODS, PRESETS, RULES, STATISTICS
from dashboards.support.dashboard import Dashboard
from dashboards.support.path_settings import ReadPath, WorkFolder

CHOSEN = "chosen"
"""What the presets' place says when statistics were chosen one by one."""
LOOKED_UP_BY = ["folder", "set_rows", "set_columns", "pattern", "channel"]
MEASURED_BY = [
    "divide_by", "grid_rows", "grid_columns", "patch_px", "step_px", "statistics", "shading", "model", "leave_out",
    "dark_below",
]  # fmt: skip
CLUSTERED_BY = ["method", "linkage", "metric", "clusters", "scale", "components", "seed"]
SEARCHED_BY = ["search_grids", "search_clusters", "search_components", "search_draws"]
DRAWN_BY = ["shown", "opacity", "palette", "flat", "across", "up"]
PALETTES = ("viridis", "cividis", "magma", "grey")
OVER_PATCHES = ("clusters", "classes", "sureness")
"""What the picture can show of patches, beside a statistic."""
PLANES = {"components": ("PC 1", "PC 2"), "umap": ("UMAP 1", "UMAP 2")}
"""Directions in which the scatter can show patches, beside a statistic, by what makes them."""


class TextureSettings(Dashboard):
    """What a person chooses: the tiles, the patches, what is measured, how it is clustered, what is shown."""

    in_url = (
        *LOOKED_UP_BY, "preset", *MEASURED_BY, *CLUSTERED_BY, *SEARCHED_BY, *DRAWN_BY, "output", "classes",
    )  # fmt: skip

    folder = ReadPath(default="", label="Folder of tiles", doc="Its images make the set.")
    set_rows = param.Integer(default=None, bounds=(1, None), allow_None=True, label="Rows of tiles")
    set_columns = param.Integer(default=None, bounds=(1, None), allow_None=True, label="Columns of tiles")
    pattern = param.String(default="", label="Pattern of names", doc="A regular expression with row and column.")
    channel = param.Integer(default=1, bounds=(1, None), label="Channel")

    divide_by = param.Selector(
        default="grid", objects={"grid": "grid", "patch size": "patch_size"}, label="Patches from"
    )
    grid_rows = param.Integer(default=16, bounds=(1, 128), label="Rows of patches")
    grid_columns = param.Integer(default=16, bounds=(1, 128), label="Columns of patches")
    patch_px = param.Integer(default=64, bounds=(4, 1024), label="Side of a patch (px)")
    step_px = param.Integer(default=64, bounds=(2, 1024), label="Step (px)")

    preset = param.Selector(default="common", objects=[*PRESETS, CHOSEN], label="Statistics")
    statistics = param.ListSelector(
        default=list(PRESETS["common"]), objects=list(STATISTICS), label="Statistics one by one"
    )
    shading = param.Selector(
        default="surface",
        objects={"a surface fitted to the set": "surface", "nothing": "none", "a registered model": "model"},
        label="Shading taken off",
    )
    model = ReadPath(default="", label="Flatfield model", doc="TIFF, PNG or .bin, as large as the tiles.")
    leave_out = param.ListSelector(default=["blank", "dark"], objects=list(RULES), label="Left out")
    dark_below = param.Number(default=0.2, bounds=(0.0, 1.0), label="Dark: below this share of the median")

    method = param.Selector(default="k-means", objects=list(METHODS), label="Method")
    linkage = param.Selector(default="complete", objects=["complete", "average", "ward"], label="Linkage")
    metric = param.Selector(default="euclidean", objects=["euclidean", "cosine"], label="Distance")
    clusters = param.Integer(default=3, bounds=(2, 12), label="Clusters")
    scale = param.Boolean(default=True, label="Scale statistics")
    components = param.Integer(
        default=0, bounds=(0, len(STATISTICS)), label="Principal components", doc="0: the statistics themselves."
    )
    seed = param.Integer(default=0, bounds=(0, 2**31 - 1), label="Seed")

    search_grids = param.List(default=[4, 8, 16, 32], item_type=int, label="Patches along a tile")
    search_clusters = param.Range(default=(2, 6), bounds=(2, 12), label="Clusters searched")
    search_components = param.List(default=[0], item_type=int, label="Components searched")
    search_draws = param.Integer(default=0, bounds=(0, 50), label="Draws for the stability", doc="0 leaves it out.")

    shown = param.Selector(default="clusters", objects=[*OVER_PATCHES], label="Shown", check_on_set=False)
    opacity = param.Number(default=0.45, bounds=(0.0, 1.0), label="Opacity")
    flat = param.Boolean(default=True, label="Flat-field tiles", doc="Show the tiles without their shading.")
    palette = param.Selector(default=PALETTES[0], objects=list(PALETTES), label="Colours")
    across = param.Selector(default="PC 1", objects=["PC 1", "PC 2"], label="Across", check_on_set=False)
    up = param.Selector(default="PC 2", objects=["PC 1", "PC 2"], label="Up", check_on_set=False)

    output = WorkFolder(default="texture", label="Output folder", doc="Not that of the tiles.")
    classes = param.List(default=["class 1", "class 2"], item_type=str, label="Classes")

    def __init__(self, **params: Any) -> None:
        if "statistics" in params:
            params.setdefault("preset", preset_of(params["statistics"]))
        elif params.get("preset") in PRESETS:
            params["statistics"] = list(PRESETS[params["preset"]])
        super().__init__(**params)
        self.param.watch(self._follow_preset, ["preset", "statistics"])
        self.param.watch(self._follow_plane, ["across", "up"])

    def _follow_preset(self, *events: Any) -> None:
        """Keep the preset and the list of statistics alike; the list wins."""
        if any(event.name == "statistics" for event in events):
            fits = self.preset in PRESETS and list(self.statistics) == list(PRESETS[self.preset])
            if not fits:
                self.preset = preset_of(self.statistics)
        elif self.preset in PRESETS:
            self.statistics = list(PRESETS[self.preset])

    def _follow_plane(self, *events: Any) -> None:
        """Keep both axes of the scatter in one plane: a direction of another one has no meaning beside it."""
        chosen = events[-1]
        other = "up" if chosen.name == "across" else "across"
        planes = list(PLANES.values())
        mine = next((axes for axes in planes if chosen.new in axes), None)
        theirs = next((axes for axes in planes if getattr(self, other) in axes), None)
        if mine is not None and theirs is not None and mine is not theirs:
            setattr(self, other, mine[1] if chosen.new == mine[0] else mine[0])

    def offer_choices(self, *_: Any) -> None:
        """Offer what can be shown of the patches, and leave what cannot."""
        names = list(self.patches.statistics) if self.patches is not None else list(self.statistics)
        over = [name for name in OVER_PATCHES if name == "clusters" or self.correction is not None]
        axes = [*PLANES["components"], *(PLANES["umap"] if HAVE_UMAP else ()), *names]
        for name, choices, usual in (
            ("shown", [*over, *names], "clusters"),
            ("across", axes, "PC 1"),
            ("up", axes, "PC 2"),
        ):
            chosen = getattr(self, name)
            # until patches are there, what the address says may still come true
            known = chosen in choices or self.patches is None
            with self.held():
                # a widget whose choices change may take another one
                self.param[name].objects = choices
                setattr(self, name, chosen if known else usual)

    # ---- as keyword arguments -------------------------------------------------------------------------

    @property
    def tile_settings(self) -> dict[str, Any]:
        """Keyword arguments of `find_tile_set` as they stand."""
        return {
            "rows": self.set_rows,
            "columns": self.set_columns,
            "pattern": self.pattern or None,
            "channel": self.channel,
        }

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `measure_patches` as they stand."""
        if self.divide_by == "grid":
            places = {"grid": (self.grid_rows, self.grid_columns), "patch_size": None, "step": None}
        else:
            step = None if self.step_px == self.patch_px else self.step_px
            places = {"grid": None, "patch_size": self.patch_px, "step": step}
        shading = self.model.strip() if self.shading == "model" else self.shading
        return {
            **places,
            "statistics": self.preset if self.preset in PRESETS else list(self.statistics),
            "shading": shading,
            "leave_out": tuple(self.leave_out),
            "dark_below": self.dark_below,
        }

    @property
    def cluster_settings(self) -> dict[str, Any]:
        """Keyword arguments of `cluster_patches` as they stand."""
        agglomerative = self.method == "agglomerative"
        return {
            "clusters": self.clusters,
            "method": self.method,
            "linkage": self.linkage if agglomerative else "complete",
            "metric": self.metric if agglomerative and self.linkage != "ward" else "euclidean",
            "scale": self.scale,
            "components": self.components or None,
            "seed": self.seed,
        }

    @property
    def search_settings(self) -> dict[str, Any]:
        """Keyword arguments of `search_settings` as they stand."""
        low, high = self.search_clusters
        how = {name: value for name, value in self.cluster_settings.items() if name not in ("clusters", "components")}
        return {
            **how,
            "grids": list(self.search_grids) or None,
            "clusters": list(range(int(low), int(high) + 1)),
            "components": [number or None for number in self.search_components] or [None],
            "draws": self.search_draws,
        }

    @property
    def table_file(self) -> Path:
        """Where the table of patches is exported to."""
        return Path(self.output or "texture") / "patches.csv"


def preset_of(statistics: Any) -> str:
    """Return the preset that is this list of statistics, or that they were chosen one by one."""
    return next((name for name, given in PRESETS.items() if list(given) == list(statistics)), CHOSEN)
