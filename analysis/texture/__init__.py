"""Texture: which patches of a set of tiles look alike."""

from analysis.texture._clusters import Clusters, cluster_patches
from analysis.texture._corrections import Correction, correct_labels
from analysis.texture._drawing import COLOURS
from analysis.texture._embedding import HAVE_UMAP, Embedding, embed_patches
from analysis.texture._export import OUTPUT_FORMATS, Outputs, write_outputs
from analysis.texture._grid import Grid, make_grid
from analysis.texture._heat_map import write_heat_map
from analysis.texture._labels import read_labels, save_labels
from analysis.texture._methods import METHODS
from analysis.texture._mosaic import Mosaic, cut_patches, read_mosaic
from analysis.texture._outputs import make_label_image, write_geojson, write_label_images, write_patches, write_rois
from analysis.texture._patches import PLACE_COLUMNS, Patches, measure_patches, select_statistics
from analysis.texture._rules import RULES
from analysis.texture._search import SCORES, Search, search_settings
from analysis.texture._shading import Shading, estimate_shading, make_shading
from analysis.texture._similar import find_similar
from analysis.texture._stability import Stability, measure_stability
from analysis.texture._statistics import PRESETS, STATISTICS, Statistic, choose_statistics
from analysis.texture._tile_set import TileSet, find_tile_set

__all__ = [
    "COLOURS",
    "HAVE_UMAP",
    "METHODS",
    "OUTPUT_FORMATS",
    "PLACE_COLUMNS",
    "PRESETS",
    "RULES",
    "SCORES",
    "STATISTICS",
    "Clusters",
    "Correction",
    "Embedding",
    "Grid",
    "Mosaic",
    "Outputs",
    "Patches",
    "Search",
    "Shading",
    "Stability",
    "Statistic",
    "TileSet",
    "choose_statistics",
    "cluster_patches",
    "correct_labels",
    "cut_patches",
    "embed_patches",
    "estimate_shading",
    "find_similar",
    "find_tile_set",
    "make_grid",
    "make_label_image",
    "make_shading",
    "measure_patches",
    "measure_stability",
    "read_labels",
    "read_mosaic",
    "save_labels",
    "search_settings",
    "select_statistics",
    "write_geojson",
    "write_heat_map",
    "write_label_images",
    "write_outputs",
    "write_patches",
    "write_rois",
]
