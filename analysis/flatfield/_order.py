"""Layers by name, slides in order, and the lines between their batches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from analysis.flatfield._slides import Slide, Slides
from analysis.patterns import natural_key

# The brightest layer of each filter group on the two microscopes of the AstroPath laboratories, by layer count.
_BRIGHTEST = {35: (5, 11, 21, 29, 34), 43: (5, 10, 16, 19, 22, 31, 41)}


def layer_sets(slide: Slide) -> dict[str, tuple[int, ...]]:
    """Return the named sets of layers that averages are made of.

    Parameters
    ----------
    slide
        Any slide of the cohort.

    Returns
    -------
    dict
        ``"all"``, ``"brightest"``, then each filter group by its name; layers count from 1.
    """
    groups: dict[str, tuple[int, ...]] = {}
    for layer, name in enumerate(slide.filter_groups, start=1):
        if name in ("all", "brightest") or name.isdigit():
            name = f"{name} (filter)"  # sets and layers are asked for by these names
        groups[name] = (*groups.get(name, ()), layer)
    count = slide.shape[2]
    # other microscopes: the middle layer of a group is where its emission usually peaks
    brightest = _BRIGHTEST.get(count) or tuple(layers[len(layers) // 2] for layers in groups.values())
    return {"all": tuple(range(1, count + 1)), "brightest": brightest, **groups}


def choose_layers(slide: Slide, layers: str | int) -> tuple[int, ...]:
    """Return the layers, from 1, that a name or a number stands for.

    Parameters
    ----------
    slide
        Any slide of the cohort.
    layers
        ``"all"``, ``"brightest"``, a filter group such as ``"DAPI"``, or the number of one layer.

    Raises
    ------
    ValueError
        When there is no such set or layer.
    """
    sets = layer_sets(slide)
    if str(layers) in sets:
        return sets[str(layers)]
    number = int(layers) if re.fullmatch(r"\d{1,9}", str(layers)) else 0
    if not 1 <= number <= slide.shape[2]:
        known = ", ".join(sets)
        raise ValueError(f"layers must be one of {known}, or a number from 1 to {slide.shape[2]}; got {layers!r}.")
    return (number,)


SortBy = Literal["project-cohort-batch", "order"]


def sort_slides(slides: Slides, sort_by: SortBy = "project-cohort-batch") -> np.ndarray:
    """Return the indices that put slides in order.

    Parameters
    ----------
    slides
        The slides.
    sort_by
        ``"project-cohort-batch"``, then the slide's name; or ``"order"``: by the slide's name alone.
        Numbers within names count as numbers, so M2 comes before M10.

    Returns
    -------
    ndarray of int
        A permutation of ``range(len(slides))``.

    Raises
    ------
    ValueError
        For another ``sort_by``.
    """
    if sort_by not in ("project-cohort-batch", "order"):
        raise ValueError(f"sort_by must be 'project-cohort-batch' or 'order'; got {sort_by!r}.")
    by_group = sort_by == "project-cohort-batch"

    def place(index: int) -> tuple:
        slide = slides.slides[index]
        group = (slide.project, slide.cohort, slide.batch) if by_group else ()
        return (*group, natural_key(slide.slide_id), str(slide.root_dir))

    return np.array(sorted(range(len(slides)), key=place), dtype=int)


def dividing_lines(
    slides: Slides,
    order: Sequence[int],
    *,
    lines: Literal["project-cohort-batch", "none"] = "project-cohort-batch",
    lines_after: Sequence[str] = (),
) -> tuple[int, ...]:
    """Return where dividing lines go: the number of slides before each line.

    Parameters
    ----------
    slides, order
        The slides and the order they are drawn in (`sort_slides`).
    lines
        ``"project-cohort-batch"``: wherever one of the three changes; ``"none"``: nowhere.
    lines_after
        Slide IDs after which a line goes instead.

    Raises
    ------
    ValueError
        When a name in ``lines_after`` is not among the slides.
    """
    shown = [slides.slides[i] for i in order]
    if lines_after:
        unknown = [name for name in lines_after if name not in {slide.slide_id for slide in shown}]
        if unknown:
            raise ValueError(f"lines_after must name slides that are shown; {', '.join(unknown)} not among them.")
        return tuple(i for i, slide in enumerate(shown[:-1], start=1) if slide.slide_id in lines_after)
    if lines == "none":
        return ()
    batches = [(slide.project, slide.cohort, slide.batch) for slide in shown]
    return tuple(i for i in range(1, len(batches)) if batches[i] != batches[i - 1])
