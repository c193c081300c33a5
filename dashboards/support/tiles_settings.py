"""The settings of the tiles page, and what they are as keyword arguments of the library."""

from __future__ import annotations

from typing import Any

import param

from analysis.pixel_size import convert_length
from dashboards.support.dashboard import Dashboard
from dashboards.support.path_settings import ReadPath, ReadPaths, WorkFolder

UNITS = ("nm", "µm", "mm", "cm", "m")
SIZED_BY = ["calibrate", "size_from", "pixel_size", "unit", "target_um"]
VALUED_BY = ["normalisation", "percentiles", "lower", "upper", "dtype", "format"]
LAID_BY = ["tile_size", "overlap", "edges", "padding"]
EMPTIED_BY = ["leave_out", "empty_below", "least_share_percent"]
SPLIT_BY = ["split_images", "training_percent", "validation_percent", "seed"]
DRAWN_BY = ["image", "tile", "all_tiles"]


class TilesSettings(Dashboard):
    """What a person chooses: images, size and values of tiles, what is left out, how images are split."""

    in_url = (
        "folder", "channel", "plane", *SIZED_BY, *VALUED_BY, *LAID_BY, *EMPTIED_BY, *SPLIT_BY, *DRAWN_BY,
        "masks", "labels", "working_dir", "predictions", "blending",
    )  # fmt: skip

    folder = ReadPaths(default="", label="Folders of images, one a line", doc="Files may be named too.")
    channel = param.Integer(default=1, bounds=(1, None), label="Channel")
    plane = param.Integer(default=1, bounds=(1, None), label="Plane")
    image = param.Selector(default="", objects=[""], label="Image shown", check_on_set=False)

    calibrate = param.Boolean(default=False, label="Bring to one pixel size")
    size_from = param.Selector(default="files", objects={"as the files say": "files", "typed": "typed"}, label="Size")
    pixel_size = param.Number(default=0.5, bounds=(0, None), inclusive_bounds=(False, True), label="Pixel size")
    unit = param.Selector(default="µm", objects=list(UNITS), label="Unit")
    target_um = param.Number(
        default=0.325, bounds=(0, None), inclusive_bounds=(False, True), label="Pixels of the tiles (µm)"
    )

    normalisation = param.Selector(
        default="none",
        objects={
            "as they are": "none",
            "stretched, each tile": "local",
            "stretched, each image": "global",
            "stretched, all images together": "dataset",
        },
        label="Values",
    )
    percentiles = param.Range(default=(0.0, 100.0), bounds=(0, 100), label="From percentile to percentile")
    lower = param.Number(default=0.0, label="Lower bound")
    upper = param.Number(default=1.0, label="Upper bound")
    dtype = param.Selector(
        default="", objects={"automatic": "", "uint8": "uint8", "uint16": "uint16", "float32": "float32"},
        label="Number type",
    )  # fmt: skip
    format = param.Selector(
        default=".tif", objects={"TIFF (.tif)": ".tif", "PNG (.png)": ".png", "JPEG (.jpg)": ".jpg"}, label="Files"
    )

    tile_size = param.Integer(default=512, bounds=(8, 16384), label="Tile (px)")
    overlap = param.Integer(default=128, bounds=(0, 8192), label="Overlap (px)")
    edges = param.Selector(
        default="shift",
        objects={"last tiles shifted back": "shift", "filled up": "pad", "left out": "drop"},
        label="Edges",
    )
    padding = param.Selector(default="reflect", objects={"mirrored": "reflect", "zero": "zero"}, label="Filled with")
    all_tiles = param.Boolean(default=True, label="Show all tiles")
    tile = param.Integer(default=0, bounds=(0, None), label="Tile looked at, from 0")
    leave_out = param.Boolean(default=False, label="Leave out empty tiles")
    empty_below = param.Number(default=1000.0, label="Something is at or above")
    least_share_percent = param.Number(default=1.0, bounds=(0, 100), label="in at least (% of the tile)")
    split_images = param.Boolean(default=False, label="Split for training")
    training_percent = param.Number(default=80, bounds=(0, 100), label="Training (%)")
    validation_percent = param.Number(default=10, bounds=(0, 100), label="Validation (%)")
    seed = param.Integer(default=0, bounds=(0, None), label="Seed")

    masks = ReadPath(default="", label="Folder of masks", doc="Of the same names; cut along with the images.")
    labels = ReadPath(default="", label="Folder of YOLO labels", doc="Text of the same names: boxes or outlines.")
    working_dir = WorkFolder(default="tiles", label="Output folder", doc="Not a folder of images, nor in one.")
    predictions = ReadPath(default="", label="Folder of predictions", doc="Tiles of the same names, or empty.")
    blending = param.Selector(default="gradient", objects=["flat", "gradient", "gaussian"], label="Blending")

    @property
    def folders(self) -> list[str]:
        """Folders and files named."""
        return [line.strip() for line in self.folder.splitlines() if line.strip()]

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value of stretched tiles."""
        return (self.lower, self.upper)

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `export_tiles` as they stand."""
        several = self.sources.infos if self.sources is not None else ()
        typed = self.calibrate and self.size_from == "typed"
        share = [self.training_percent / 100, self.validation_percent / 100]
        return {
            "tile_size": self.tile_size,
            "overlap": self.overlap,
            "edges": self.edges,
            "padding": self.padding,
            "pixel_size_um": convert_length(self.pixel_size, self.unit) if typed else None,
            "target_pixel_size_um": self.target_um if self.calibrate else None,
            "normalisation": self.normalisation,
            "percentiles": tuple(map(float, self.percentiles)),
            "bounds": tuple(map(float, self.bounds)),
            "dtype": self.dtype or None,
            "format": self.format,
            "channel": self.channel if any(info.channels > 1 for info in several) else None,
            "plane": self.plane if any(info.planes > 1 for info in several) else None,
            "masks": self.masks.strip() or None,
            "labels": self.labels.strip() or None,
            "empty_below": self.empty_below if self.leave_out else None,
            "least_share": round(self.least_share_percent / 100, 6),
            "split": (*share, round(1 - sum(share), 6)) if self.split_images else None,
            "seed": self.seed,
        }
