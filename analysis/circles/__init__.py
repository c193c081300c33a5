"""Circles: what round objects are in last night's acquisitions."""

from analysis.circles._acquisitions import LEVELS, Acquisitions, find_acquisitions
from analysis.circles._aggregate import Aggregate, aggregate_circles, read_levels
from analysis.circles._columns import read_experiments
from analysis.circles._comparison import GroupComparison, compare_groups
from analysis.circles._control import ControlChart, make_control_chart
from analysis.circles._detection import METHOD, Circles, PreparedImage, detect_circles, prepare_image
from analysis.circles._failures import read_failures
from analysis.circles._histogram import ValueHistogram, make_histogram
from analysis.circles._ledger import Record, read_records
from analysis.circles._measurement import measure_circles
from analysis.circles._montage import Crops, cut_crops, make_montage, read_crops
from analysis.circles._overlay import draw_overlay
from analysis.circles._pipeline import PipelineRun, run_pipeline
from analysis.circles._pixels import ImagePixels, apply_pixel_size, convert_to_grey, read_pixels
from analysis.circles._plan import TO_DO, Plan, plan_run
from analysis.circles._rules import RULES
from analysis.circles._values import select_circles, sort_dates

__all__ = [
    "LEVELS",
    "METHOD",
    "RULES",
    "TO_DO",
    "Acquisitions",
    "Aggregate",
    "Circles",
    "ControlChart",
    "Crops",
    "GroupComparison",
    "ImagePixels",
    "PipelineRun",
    "Plan",
    "PreparedImage",
    "Record",
    "ValueHistogram",
    "aggregate_circles",
    "apply_pixel_size",
    "compare_groups",
    "convert_to_grey",
    "cut_crops",
    "detect_circles",
    "draw_overlay",
    "find_acquisitions",
    "make_control_chart",
    "make_histogram",
    "make_montage",
    "measure_circles",
    "plan_run",
    "prepare_image",
    "read_crops",
    "read_experiments",
    "read_failures",
    "read_levels",
    "read_pixels",
    "read_records",
    "run_pipeline",
    "select_circles",
    "sort_dates",
]
