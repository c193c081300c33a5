"""Flatfield: which slides share one illumination, and the model that removes it."""

from analysis.flatfield._comparison import Comparison, PairComparison, compare_mean_images, compare_pair
from analysis.flatfield._groups import Groups, suggest_groups
from analysis.flatfield._slides import (
    Slide,
    Slides,
    choose_layers,
    dividing_lines,
    find_slides,
    layer_sets,
    sort_slides,
)

__all__ = [
    "Comparison",
    "Groups",
    "PairComparison",
    "compare_mean_images",
    "compare_pair",
    "Slide",
    "Slides",
    "choose_layers",
    "dividing_lines",
    "find_slides",
    "layer_sets",
    "sort_slides",
    "suggest_groups",
]
