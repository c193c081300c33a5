"""Slides and their mean-image files: found under their roots, read from their XML, named and put in order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lxml import etree

from analysis.patterns import match_names
from analysis.tables import read_table

NOT_GOOD = "marked as not good"
"""Reason of a slide that is left out on purpose."""
PROBLEM_COLUMNS = ("slide_id", "root_dir", "file", "expected", "found", "reason")
SAMPLEDEF_COLUMNS = ("SampleID", "SlideID", "Project", "Cohort", "Scan", "BatchID", "isGood")

_LARGEST_XML_BYTES = 64 * 1024**2
# Excitation filters that serve two groups: the group below and the group from this emission wavelength on.
_SHARED_FILTERS_NM = {"DAPI / Opal 780": ("DAPI", "Opal780", 700.0), "Opal 480 / Cy5": ("Opal480", "Cy5", 600.0)}


@dataclass(frozen=True)
class Slide:
    """One scanned slide: who it is, what its mean image looks like, and where its files are.

    Attributes
    ----------
    root_dir
        Resolved folder that holds ``sampledef.csv``.
    slide_id
        Name of the slide, as written in ``sampledef.csv``.
    project, cohort, batch
        Numbers from ``sampledef.csv``.
    shape
        (rows, columns, layers) of the mean image.
    filter_groups
        Name of the broadband filter of every layer, such as ``"DAPI"``.
    meanimage_dir
        Folder of the mean-image files.
    """

    root_dir: Path
    slide_id: str
    project: int
    cohort: int
    batch: int
    shape: tuple[int, int, int]
    filter_groups: tuple[str, ...]
    meanimage_dir: Path

    @property
    def key(self) -> tuple[str, str]:
        """Root and slide ID: what makes a slide one slide."""
        return str(self.root_dir), self.slide_id

    @property
    def mean_image(self) -> Path:
        """Mean image, float64."""
        return self.meanimage_dir / f"{self.slide_id}-mean_image.bin"

    @property
    def standard_error(self) -> Path:
        """Standard error of the mean image, float64."""
        return self.meanimage_dir / f"{self.slide_id}-std_err_of_mean_image.bin"

    @property
    def sum_images_squared(self) -> Path:
        """Sum of the squared images, float64."""
        return self.meanimage_dir / f"{self.slide_id}-sum_images_squared.bin"

    @property
    def mask_stack(self) -> Path:
        """Number of images stacked in every pixel, uint64."""
        return self.meanimage_dir / f"{self.slide_id}-mask_stack.bin"

    @property
    def fields_used(self) -> Path:
        """Table of the fields stacked."""
        return self.meanimage_dir / "fields_used.csv"

    @property
    def metadata_summary(self) -> Path:
        """Table of microscope and dates."""
        return self.meanimage_dir / f"{self.slide_id}-metadata_summary_stacked_images.csv"


@dataclass(frozen=True)
class Slides:
    """Slides found, in the order given, with what could not be used and why.

    Attributes
    ----------
    slides
        The usable ones.
    problems
        One row for each thing that was wrong: ``slide_id, root_dir, file, expected, found, reason``.
    settings
        The keyword arguments used.
    """

    slides: tuple[Slide, ...]
    problems: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.slides)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Slide IDs; where one occurs in two roots, with the root's folder name."""
        count = Counter(slide.slide_id for slide in self.slides)
        return tuple(s.slide_id if count[s.slide_id] == 1 else f"{s.slide_id} ({s.root_dir.name})" for s in self.slides)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a slide: ``slide_id, project, cohort, batch, rows_px, columns_px, layers, root_dir``."""
        rows = [(s.slide_id, s.project, s.cohort, s.batch, *s.shape, str(s.root_dir)) for s in self.slides]
        columns = ["slide_id", "project", "cohort", "batch", "rows_px", "columns_px", "layers", "root_dir"]
        return pd.DataFrame(rows, columns=columns)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of slides, roots and problems."""
        roots = {slide.root_dir for slide in self.slides}
        return {"slides": len(self), "roots": len(roots), "problems": len(self.problems)}

    def select(self, sample_regex: str | None) -> Slides:
        """Return the slides whose ID the pattern takes from its start on (`analysis.patterns.match_names`)."""
        taken = match_names(sample_regex, [slide.slide_id for slide in self.slides])
        kept = tuple(slide for slide, take in zip(self.slides, taken, strict=True) if take)
        return replace(self, slides=kept, settings={**self.settings, "sample_regex": sample_regex})


class Unusable(Exception):
    """Why a slide or a root cannot be used: file, expected, found, reason."""

    def __init__(self, file: Path, expected: str, found: str, reason: str):
        super().__init__(file, expected, found, reason)


def make_problems(rows: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Return rows of text as a table of problems."""
    return pd.DataFrame(list(rows), columns=list(PROBLEM_COLUMNS), dtype=object)


def find_slides(
    roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], *, meanimage_folder: str = "meanimage"
) -> Slides:
    """Find the slides under the given roots that have a mean image.

    Parameters
    ----------
    roots
        Folders with a ``sampledef.csv``. The same folder under two spellings is one root.
    meanimage_folder
        Folder below ``<slide>/im3``: ``"meanimage"``, or ``"meanimage_from_fw_files"``.

    Returns
    -------
    Slides
        In the order of the roots and of their tables. Whatever is missing or wrong is a row of
        ``problems`` and the rest goes on.

    Examples
    --------
    >>> find_slides([]).summary()
    {'slides': 0, 'roots': 0, 'problems': 0}
    """
    if isinstance(roots, (str, os.PathLike)):
        roots = [roots]
    found, problems = [], []
    for root in dict.fromkeys(Path(root).expanduser().resolve() for root in roots):
        try:
            rows = read_sampledef(root)
        except Unusable as reason:
            problems.append(("", str(root), *map(str, reason.args)))
            continue
        for row in rows:
            try:
                found.append(find_slide(root, row, meanimage_folder))
            except Unusable as reason:
                problems.append((row["SlideID"], str(root), *map(str, reason.args)))
    return Slides(tuple(found), make_problems(problems), {"meanimage_folder": meanimage_folder})


def read_sampledef(root: Path) -> list[dict[str, Any]]:
    path = root / "sampledef.csv"
    needed = ("SlideID", "Project", "Cohort", "BatchID")
    try:
        table = read_table(path, columns=needed, integers=("Project", "Cohort", "BatchID"))
    except OSError as error:
        where = path if os.path.isdir(root) else root
        raise Unusable(where, "a folder with a table of its slides", error.strerror, "cannot be read") from None
    except ValueError as error:
        raise Unusable(path, f"the columns {', '.join(SAMPLEDEF_COLUMNS)}", str(error), "wrong table") from None
    if table.empty:
        raise Unusable(path, "one line for each slide", "no lines", "empty table")
    return table.drop_duplicates("SlideID").to_dict("records")


def find_slide(root: Path, row: dict[str, Any], meanimage_folder: str) -> Slide:
    slide_id = row["SlideID"]
    if not slide_id or slide_id in (".", "..") or any(sign in slide_id for sign in "/\\\0"):
        raise Unusable(root / "sampledef.csv", "a SlideID that names a folder", repr(slide_id), "not a slide ID")
    if str(row.get("isGood", "1")).strip() == "0":
        raise Unusable(root / "sampledef.csv", "isGood 1", "isGood 0", NOT_GOOD)
    folder = root / slide_id
    if not os.path.isdir(folder):
        raise Unusable(folder, "the slide's folder", "nothing", "missing")
    shape = _read_shape(_first_that_exists(folder, slide_id, "Parameters"))
    groups = _read_filter_groups(_first_that_exists(folder, slide_id, "Full"), shape[2])
    meanimage_dir = folder / "im3" / meanimage_folder
    slide = Slide(root, slide_id, row["Project"], row["Cohort"], row["BatchID"], shape, groups, meanimage_dir)
    for path in (slide.mean_image, slide.standard_error, slide.mask_stack):
        _check_size(path, shape)
    return slide


def _first_that_exists(folder: Path, slide_id: str, kind: str) -> Path:
    inside = folder / "im3" / "xml" / f"{slide_id}.{kind}.xml"
    beside = folder / f"{slide_id}.{kind}.xml"
    # os.path answers False where pathlib would raise for a folder that may not be read
    return inside if os.path.exists(inside) or not os.path.exists(beside) else beside


def _read_xml(path: Path) -> etree._Element:
    # entities stay as they are, and a part of many megabytes is an error
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        size = path.stat().st_size
        if size > _LARGEST_XML_BYTES:
            raise Unusable(path, f"XML of at most {_LARGEST_XML_BYTES} bytes", f"{size} bytes", "too large")
        tree = etree.fromstring(path.read_bytes(), parser)
    except OSError as error:
        raise Unusable(path, "an XML file", error.strerror or str(error), "cannot be read") from None
    except etree.XMLSyntaxError as error:
        raise Unusable(path, "an XML file", str(error), "unreadable XML") from None
    if tree.getroottree().docinfo.doctype:
        raise Unusable(path, "XML without a DOCTYPE", "a DOCTYPE", "refused: entities could fill the memory")
    return tree


def _read_shape(path: Path) -> tuple[int, int, int]:
    text = next((e.text or "" for e in _read_xml(path).iter("{*}D") if e.get("name") == "Shape"), None)
    expected = 'an entry "Shape" with width, height and layers'
    if text is None:
        raise Unusable(path, expected, "no such entry", "no image shape")
    numbers = text.split()
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() and 0 < int(n) < 2**31 for n in numbers):
        raise Unusable(path, expected, repr(text[:60]), "no image shape")
    width, height, layers = map(int, numbers)
    return height, width, layers


def _read_filter_groups(path: Path, layers: int) -> tuple[str, ...]:
    """Filter group of every layer, from wavelength and excitation filter in the order of the file."""
    entries = [e for e in _read_xml(path).iter("{*}D") if e.get("name") in ("Wavelengths", "ExcitationFilterName")]
    wavelengths = [(e.text or "").split() for e in entries if e.get("name") == "Wavelengths"]
    filters = [(e.text or "").strip() for e in entries if e.get("name") == "ExcitationFilterName"]
    if len(filters) != layers or len(wavelengths) != layers:
        found = f"{len(wavelengths)} wavelengths and {len(filters)} filters"
        raise Unusable(path, f"a wavelength and an excitation filter for each of {layers} layers", found, "no filters")
    return tuple(
        _filter_group(name, values, path, number)
        for number, (name, values) in enumerate(zip(filters, wavelengths, strict=True), start=1)
    )


def _filter_group(name: str, wavelengths_nm: list[str], path: Path, layer: int) -> str:
    if name not in _SHARED_FILTERS_NM:
        return name or "unnamed filter"
    below, above, limit_nm = _SHARED_FILTERS_NM[name]
    try:
        first, *_ = map(float, wavelengths_nm)
    except ValueError:
        found = " ".join(wavelengths_nm)[:60] or "nothing"
        raise Unusable(path, f"the wavelength of layer {layer} in nm", found, "no wavelength") from None
    return above if first >= limit_nm else below


def _check_size(path: Path, shape: tuple[int, int, int]) -> None:
    expected = 8 * int(np.prod(shape, dtype=np.int64))
    words = f"{expected} bytes ({' x '.join(map(str, shape))} values of 8 bytes)"
    try:
        size = path.stat().st_size
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise Unusable(path, words, error.strerror or str(error), "cannot be read") from None
    if size != expected:
        raise Unusable(path, words, f"{size} bytes", "truncated" if size < expected else "wrong size")


def with_common_shape(found: Sequence[Slide], deciding: set[Path]) -> tuple[list[Slide], list[tuple[str, ...]]]:
    """Return the slides of the most frequent shape, and a problem for every other one.

    Slides of the deciding roots outvote the others.
    """
    counts = Counter(slide.shape for slide in found)
    if len(counts) < 2:
        return list(found), []
    votes = Counter(slide.shape for slide in found if slide.root_dir in deciding) or counts
    common = votes.most_common(1)[0][0]
    number = counts[common]
    others = []
    for slide in found:
        if slide.shape != common:
            expected = f"{' x '.join(map(str, common))} as {number} other slides"
            size = " x ".join(map(str, slide.shape))
            others.append((*_named(slide), str(slide.mean_image), expected, size, "another image shape"))
    return [slide for slide in found if slide.shape == common], others


def _named(slide: Slide) -> tuple[str, str]:
    return slide.slide_id, str(slide.root_dir)
