"""Tiles: images cut into calibrated, normalised tiles of one size, and merged again."""

from analysis.tiles._annotations import cut_labels, read_labels
from analysis.tiles._blending import merge_bands, merge_tiles
from analysis.tiles._calibration import cut_into_bands, find_factor, open_calibrated
from analysis.tiles._choices import allowed_formats, allowed_types, check_choice, judge_formats, judge_types
from analysis.tiles._cutting import cut_bands, cut_tile, cut_tiles
from analysis.tiles._export import Export, export_tiles
from analysis.tiles._histogram import Histogram, Range, find_range, make_histogram
from analysis.tiles._layout import Layout, make_layout
from analysis.tiles._manifest import Cut, read_manifest, remove_tiles
from analysis.tiles._merging import Merge, merge_images
from analysis.tiles._normalisation import convert_pixels, normalise
from analysis.tiles._resampling import resample, resample_bands, resampled_shape
from analysis.tiles._sources import Sources, find_images
from analysis.tiles._split import split_images
from analysis.tiles._weights import axis_weights

__all__ = [
    "Cut",
    "Export",
    "Histogram",
    "Layout",
    "Merge",
    "Range",
    "Sources",
    "allowed_formats",
    "allowed_types",
    "axis_weights",
    "check_choice",
    "convert_pixels",
    "cut_bands",
    "cut_into_bands",
    "cut_labels",
    "cut_tile",
    "cut_tiles",
    "export_tiles",
    "find_factor",
    "find_images",
    "find_range",
    "judge_formats",
    "judge_types",
    "make_histogram",
    "make_layout",
    "merge_bands",
    "merge_images",
    "merge_tiles",
    "normalise",
    "open_calibrated",
    "read_labels",
    "read_manifest",
    "remove_tiles",
    "resample",
    "resample_bands",
    "resampled_shape",
    "split_images",
]
