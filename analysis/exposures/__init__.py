"""Exposures: which micrographs of an EPU session show a place that was exposed before."""

from analysis.exposures._calibration import (
    SAFE_MARGIN,
    SPACINGS_UM,
    Calibration,
    assume_beam_shift,
    calibrate_beam_shift,
)
from analysis.exposures._clusters import BeamShiftClusters, cluster_beam_shifts
from analysis.exposures._duplicates import Duplicates, find_duplicates
from analysis.exposures._epu import parse_exposure
from analysis.exposures._images import SessionImages, find_images, likeness
from analysis.exposures._lists import BadFiles, find_movies, write_bad_files, write_exposure_list, write_tables
from analysis.exposures._montage import make_montage, save_montage
from analysis.exposures._optics import OpticsGroups, assign_optics_groups
from analysis.exposures._predose import Predose, measure_predose
from analysis.exposures._reading import read_epu_session
from analysis.exposures._session import Session
from analysis.exposures._star import CleanedStar, clean_star, write_optics_star
from analysis.exposures._watch import watch_session

__all__ = [
    "SAFE_MARGIN",
    "SPACINGS_UM",
    "BadFiles",
    "BeamShiftClusters",
    "Calibration",
    "CleanedStar",
    "Duplicates",
    "OpticsGroups",
    "Predose",
    "Session",
    "SessionImages",
    "assign_optics_groups",
    "assume_beam_shift",
    "calibrate_beam_shift",
    "clean_star",
    "cluster_beam_shifts",
    "find_duplicates",
    "find_images",
    "find_movies",
    "likeness",
    "make_montage",
    "measure_predose",
    "parse_exposure",
    "read_epu_session",
    "save_montage",
    "watch_session",
    "write_bad_files",
    "write_exposure_list",
    "write_optics_star",
    "write_tables",
]
