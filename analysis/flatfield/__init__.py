"""Flatfield: which slides share one illumination, and the model that removes it."""

from analysis.flatfield._comparison import Comparison, compare_mean_images
from analysis.flatfield._correction import Correction, ModelCheck, apply_model, check_model
from analysis.flatfield._fields import find_fields
from analysis.flatfield._groups import Groups, suggest_groups
from analysis.flatfield._meanimage import MeanImage, make_mean_image
from analysis.flatfield._model import FlatfieldModel, create_model, read_model, refuse_existing_model
from analysis.flatfield._order import SortBy, choose_layers, dividing_lines, layer_sets, sort_slides
from analysis.flatfield._pair import PairComparison, compare_pair
from analysis.flatfield._registry import Registration, read_model_table, register_model
from analysis.flatfield._slides import NOT_GOOD, Slide, Slides, find_slides

__all__ = [
    "NOT_GOOD",
    "Comparison",
    "Correction",
    "FlatfieldModel",
    "Groups",
    "MeanImage",
    "ModelCheck",
    "PairComparison",
    "Registration",
    "Slide",
    "Slides",
    "SortBy",
    "apply_model",
    "check_model",
    "choose_layers",
    "compare_mean_images",
    "compare_pair",
    "create_model",
    "dividing_lines",
    "find_fields",
    "find_slides",
    "layer_sets",
    "make_mean_image",
    "read_model",
    "read_model_table",
    "refuse_existing_model",
    "register_model",
    "sort_slides",
    "suggest_groups",
]
