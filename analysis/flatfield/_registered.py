"""The slides of a registered version, found again in whichever root they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.flatfield._registry import check_version, read_model_table, registered_roots
from analysis.flatfield._slides import Slide, Slides, Unusable, find_slide, make_problems, read_sampledef
from analysis.images import open_raw


def as_roots(roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    given = [roots] if isinstance(roots, (str, os.PathLike)) else roots
    return list(dict.fromkeys(Path(root).expanduser().resolve() for root in given))


def find_registered_slides(
    version: str,
    *,
    roots: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    model_table: str | os.PathLike[str],
    meanimage_folder: str = "meanimage",
) -> Slides:
    """Find every slide that is registered for a version.

    Parameters
    ----------
    version, roots, model_table, meanimage_folder
        As in `create_model`.

    Returns
    -------
    Slides
        In the order of the roots and of their tables. A slide ID that is in several roots is the one whose
        project, cohort and batch are those registered, then the one in the root it was registered from.

    Raises
    ------
    ValueError
        When the version is not registered, or for slides that cannot be found or used, each with the reason.
    """
    table = read_model_table(model_table)
    rows = table[table["version"] == check_version(version)]
    if rows.empty:
        known = ", ".join(dict.fromkeys(table["version"])) or "none"
        raise ValueError(f"version must be registered in {model_table}; got {version!r}, registered: {known}.")
    origins = registered_roots(model_table, version)
    places = as_roots([*as_roots(roots), *(root for group in origins.values() for root in group)])
    listed, unreadable = _list_roots(places)
    found, reasons = {}, []
    for row, count in rows.value_counts(["SlideID", "Project", "Cohort", "BatchID"], sort=False).items():
        try:
            for root, definition in _decide(row, count, listed, origins.get(row[0], ())):
                slide = _find_usable(root, definition, meanimage_folder)
                found[slide.key] = slide
        except (ValueError, OSError) as error:
            reasons.append(f"{_call(row)}: {error}")
    if reasons:
        raise ValueError(_refusal(version, model_table, len(rows), reasons, unreadable))
    in_order = [(str(root), name) for root, names in listed.items() for name in names]
    ordered = [found[key] for key in in_order if key in found]
    _check_shapes(version, ordered)
    return Slides(tuple(ordered), make_problems(()), {"version": version, "meanimage_folder": meanimage_folder})


_Listed = dict[Path, dict[str, dict[str, Any]]]


_Row = tuple[str, int, int, int]


def _list_roots(roots: Sequence[Path]) -> tuple[_Listed, list[str]]:
    """Read the slides listed in every root, and say which roots cannot be read."""
    listed, unreadable = {}, []
    for root in roots:
        try:
            listed[root] = {row["SlideID"]: row for row in read_sampledef(root)}
        except Unusable as error:
            file, expected, what, _ = error.args
            unreadable.append(f"{file}: expected {expected}, found {what}")
    return listed, unreadable


def _numbers(definition: dict[str, Any]) -> tuple[int, int, int]:
    return definition["Project"], definition["Cohort"], definition["BatchID"]


def _call(row: _Row) -> str:
    return f"{row[0]} (Project {row[1]}, Cohort {row[2]}, BatchID {row[3]})"


def _decide(row: _Row, count: int, listed: _Listed, origins: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the root and the definition of the slide (rarely slides) that a row of the model table means."""
    name, *numbers = row
    candidates = [(root, definitions[name]) for root, definitions in listed.items() if name in definitions]
    if not candidates:
        where = f"; it was registered from {', '.join(map(str, origins))}" if origins else ""
        raise ValueError(f"not listed in {', '.join(map(str, listed)) or 'any root that can be read'}{where}")
    same = [(root, definition) for root, definition in candidates if _numbers(definition) == tuple(numbers)]
    if not same:
        others = "; ".join(f"{_call((name, *_numbers(d)))} in {root}" for root, d in candidates)
        raise ValueError(f"only others of that name are listed: {others}")
    if len(same) < count <= len(origins):
        raise ValueError(f"registered {count} times, from {', '.join(map(str, origins))}; {len(same)} found")
    if len(same) == 1:
        return same
    registered = [(root, definition) for root, definition in same if root in {origin.resolve() for origin in origins}]
    if not registered and len(same) != count:
        places = ", ".join(str(root) for root, _ in same)
        raise ValueError(f"listed in {len(same)} roots: {places}; give only the one that is meant")
    return registered or same


def _find_usable(root: Path, definition: dict[str, Any], meanimage_folder: str) -> Slide:
    try:
        slide = find_slide(root, definition, meanimage_folder)
    except Unusable as error:
        file, expected, what, reason = error.args
        raise ValueError(f"{reason}: {file}: expected {expected}, found {what}") from None
    open_raw(slide.sum_images_squared, slide.shape, "<f8")
    return slide


def _refusal(
    version: str, model_table: str | os.PathLike[str], count: int, reasons: list[str], roots: list[str]
) -> str:
    unreadable = ["These roots cannot be read:", *roots] if roots else []
    return "\n".join([
        f"The model {version} must contain every slide registered for it in {model_table}; "
        f"{len(reasons)} of {count} cannot be used, and nothing was written:",
        *reasons,
        *unreadable,
        "Give the roots these slides are in, mend what is said of them, or register the version again without them.",
    ])  # fmt: skip


def _check_shapes(version: str, slides: Sequence[Slide]) -> None:
    shapes: dict[tuple[int, int, int], list[str]] = {}
    for slide in slides:
        shapes.setdefault(slide.shape, []).append(slide.slide_id)
    if len(shapes) > 1:
        found = "; ".join(f"{' x '.join(map(str, shape))}: {', '.join(names)}" for shape, names in shapes.items())
        raise ValueError(f"The slides of the model {version} must have images of one shape; got {found}.")
