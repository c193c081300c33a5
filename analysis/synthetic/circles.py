"""Phantoms of bright discs whose centres, radii and grey values are known, alone or as a tree of acquisitions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image as PillowImage

Level = Literal["clean", "noisy", "crowded"]
Subject = tuple[float, float, float, float]

SUBJECTS: dict[str, Subject] = {"s1": (45, 5, 200, 20), "s2": (25, 5, 100, 20)}
"""Mean and standard deviation of the radius in pixels and of the grey value, for each subject."""

EXAMPLE_ACQUISITIONS: dict[str, Any] = {
    "dates": tuple(f"2018040{day}" for day in range(1, 9)),
    "subjects": SUBJECTS,
    "experiments": ("e1", "e2"),
    "fields": 2,
    "shape": (512, 512),
    "level": "clean",
    "drift": {"20180408": 0.8},
    "seed": 11,
}
"""Keywords of `draw_acquisitions` for demonstrations: eight nights of two subjects; the lamp is weaker in the last."""

_LEVELS = ("clean", "noisy", "crowded")
_BACKGROUND = {"clean": 12.0, "noisy": 25.0, "crowded": 20.0}
_DISCS_PER_512 = {"clean": 6.0, "noisy": 6.0, "crowded": 7.0}
_LEAST_RADIUS_PX, _LEAST_GAP_PX = 10.0, 4.0
_BESIDE_SHARE, _LEAST_APART = 0.5, 0.64  # of discs that touch another; of the sum of two radii
_TRUTH = ("x", "y", "r", "nominal", "mean_in_disc", "ideal_mean", "visible", "inside")


@dataclass(frozen=True)
class Phantom:
    """An image of discs and the truth it was drawn from.

    Attributes
    ----------
    pixels
        (rows, columns) of uint8.
    truth
        One row a disc, in the order drawn: ``x, y, r`` (px; pixel centres at whole numbers, x counts columns),
        ``nominal`` (grey value asked for), ``mean_in_disc`` (mean of the pixels no further than r from the centre),
        ``ideal_mean`` (the same before noise), ``inside`` (share within the frame) and ``visible`` (share within the
        frame that no later disc covers). What is visible by less than 0.5 or inside by less than 0.6 may be missed.
    settings
        The keyword arguments used.
    """

    pixels: np.ndarray
    truth: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DrawnAcquisitions:
    """Phantoms on disk and the truth they were drawn from.

    Attributes
    ----------
    folder
        Holds ``acquisitions/<date>/<subject>/<experiment>/fov00.png`` and so on, and ``truth.csv``.
    files
        Paths of the images, in the order of the table.
    truth
        One row a disc: ``level, date, subject, experiment, fov, circle`` and the columns of `Phantom.truth`.
    settings
        The keyword arguments used.
    """

    folder: Path
    files: tuple[Path, ...]
    truth: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)


def draw_phantom(
    shape: tuple[int, int] = (512, 512),
    *,
    level: Level = "clean",
    subject: Subject = (45, 5, 200, 20),
    circles: Sequence[Sequence[float]] | None = None,
    seed: int,
) -> Phantom:
    """Draw an image of discs with smooth rims at places between pixels.

    - ``"clean"``: background 12, noise of standard deviation 2; discs lie apart and wholly inside.
    - ``"noisy"``: background 25, noise as strong as half the mean contrast of the subject; some discs are cut by
      the frame.
    - ``"crowded"``: discs lie over each other and over the frame, the illumination falls to 0.45, the background
      has waves, and the noise is 8.

    Parameters
    ----------
    shape
        (rows, columns). The number of discs grows with the area.
    level
        How difficult it is.
    subject
        Mean and standard deviation of the radius in px, then of the grey value. Both are normally distributed; grey
        values end at 255.
    circles
        Discs to draw in place of random ones: (x, y, r, grey value) of each, in px.
    seed
        Of the random numbers.

    Returns
    -------
    Phantom
        The image and its truth.

    Raises
    ------
    ValueError
        When the level is none of these, or the shape, the subject or the circles do not make sense.

    Examples
    --------
    >>> phantom = draw_phantom((120, 160), circles=[(80.25, 60.5, 30, 200)], seed=1)
    >>> phantom.pixels.dtype, float(phantom.truth["ideal_mean"][0].round())
    (dtype('uint8'), 198.0)
    """
    settings = {"shape": shape, "level": level, "subject": subject, "circles": circles, "seed": seed}
    _check(shape, level, subject)
    rng = np.random.default_rng(seed)
    discs = _place(shape, level, subject, rng) if circles is None else _check_circles(circles)
    light = _BACKGROUND[level] + (_waves(shape, rng) if level == "crowded" else np.zeros(shape))
    for x, y, r, grey in discs:
        _cover(light, x, y, r, grey)
    if level == "crowded":
        light *= _illumination(shape, rng)
    noise = {"clean": 2.0, "noisy": (subject[2] - _BACKGROUND["noisy"]) / 2, "crowded": 8.0}[level]
    pixels = np.clip(np.rint(light + rng.normal(0, max(noise, 0), shape)), 0, 255).astype(np.uint8)
    return Phantom(pixels, _tell(discs, light, pixels), settings)


def draw_acquisitions(
    folder: str | os.PathLike[str],
    *,
    dates: Sequence[str] = ("20180401", "20180402"),
    subjects: Mapping[str, Subject] = SUBJECTS,
    experiments: Sequence[str] = ("e1", "e2"),
    fields: int = 2,
    shape: tuple[int, int] = (512, 512),
    level: Level = "clean",
    drift: Mapping[str, float] | None = None,
    seed: int = 0,
) -> DrawnAcquisitions:
    """Draw phantoms as they are acquired night after night, and write them with their truth.

    Parameters
    ----------
    folder
        Where ``acquisitions/<date>/<subject>/<experiment>/fov00.png`` and ``truth.csv`` are written.
    dates, subjects, experiments
        Names of the folders; of each subject also what `draw_phantom` wants to know.
    fields
        Number of images in each experiment.
    shape
        (rows, columns) of each.
    level
        How difficult the images are.
    drift
        Factors by which the grey values of discs are multiplied on some dates.
    seed
        Of the random numbers. Every image has its own stream: more fields leave the earlier ones as they are.

    Returns
    -------
    DrawnAcquisitions
        The files and the truth.

    Raises
    ------
    ValueError
        When something asked for does not make sense.
    OSError
        When the folder cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> drawn = draw_acquisitions(
    ...     tempfile.mkdtemp(), dates=["20180401"], experiments=["e1"], fields=1, shape=(200, 200)
    ... )
    >>> ["/".join(path.parts[-4:]) for path in drawn.files]
    ['20180401/s1/e1/fov00.png', '20180401/s2/e1/fov00.png']
    """
    settings = {
        "dates": tuple(dates), "subjects": dict(subjects), "experiments": tuple(experiments), "fields": fields,
        "shape": shape, "level": level, "drift": dict(drift or {}), "seed": seed,
    }  # fmt: skip
    if fields < 1:
        raise ValueError(f"fields must be at least 1; got {fields}.")
    for subject in subjects.values():
        _check(shape, level, subject)
    folder, files, tables = Path(folder), [], []
    places = [(date, name, experiment, number) for date in dates for name in subjects for experiment in experiments
              for number in range(fields)]  # fmt: skip
    for date, name, experiment, number in places:
        radius, radius_sd, grey, grey_sd = subjects[name]
        lamp = (drift or {}).get(date, 1.0)
        keys = (list(dates).index(date), list(subjects).index(name), list(experiments).index(experiment), number)
        own = int(np.random.SeedSequence([seed, *keys]).generate_state(1)[0])
        phantom = draw_phantom(shape, level=level, subject=(radius, radius_sd, grey * lamp, grey_sd * lamp), seed=own)
        path = folder / "acquisitions" / date / name / experiment / f"fov{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(phantom.pixels).save(path, compress_level=1)
        files.append(path)
        leading = {"level": level, "date": date, "subject": name, "experiment": experiment, "fov": path.stem,
                   "circle": range(len(phantom.truth))}  # fmt: skip
        tables.append(pd.DataFrame(leading).join(phantom.truth))
    columns = ["level", "date", "subject", "experiment", "fov", "circle", *_TRUTH]
    truth = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)
    folder.mkdir(parents=True, exist_ok=True)
    truth.round(4).to_csv(folder / "truth.csv", index=False)
    return DrawnAcquisitions(folder, tuple(files), truth, settings)


def _place(shape: tuple[int, int], level: Level, subject: Subject, rng: np.random.Generator) -> np.ndarray:
    """Return (discs, 4) x, y, r and grey value of discs at random places that the level allows."""
    mean = _DISCS_PER_512[level] * np.prod(shape) / 512**2
    count = max(1, int(np.rint(mean * rng.uniform(0.7, 1.3))))
    discs = np.empty((0, 4))
    for _ in range(count):
        r = max(rng.normal(*subject[:2]), _LEAST_RADIUS_PX)
        grey = min(rng.normal(*subject[2:]), 255.0)
        beside = level == "crowded" and len(discs) > 0 and rng.random() < _BESIDE_SHARE
        for _ in range(200):
            x, y = _beside(discs, r, rng) if beside else _anywhere(shape, r, level, rng)
            if _allowed(x, y, r, discs, shape, level):
                discs = np.vstack([discs, (x, y, r, grey)])
                break
    return discs


def _anywhere(shape: tuple[int, int], r: float, level: Level, rng: np.random.Generator) -> tuple[float, float]:
    margin = r + _LEAST_GAP_PX if level == "clean" else 0.3 * r
    (y, x) = (rng.uniform(margin, max(length - 1 - margin, margin)) for length in shape)
    return x, y


def _beside(discs: np.ndarray, r: float, rng: np.random.Generator) -> tuple[float, float]:
    x, y, other, _ = discs[rng.integers(len(discs))]
    distance, angle = rng.uniform(_LEAST_APART, 1.1) * (r + other), rng.uniform(0, 2 * np.pi)
    return x + distance * np.cos(angle), y + distance * np.sin(angle)


def _allowed(x: float, y: float, r: float, discs: np.ndarray, shape: tuple[int, int], level: Level) -> bool:
    """Tell whether a disc may lie here: apart from others, or over them by not more than the level allows."""
    within = min(x, y, shape[1] - 1 - x, shape[0] - 1 - y)
    if within < (r if level == "clean" else 0.2 * r):
        return False
    distance, sums = np.hypot(discs[:, 0] - x, discs[:, 1] - y), discs[:, 2] + r
    return bool(np.all(distance >= (_LEAST_APART * sums if level == "crowded" else sums + _LEAST_GAP_PX)))


def _waves(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return slow waves of up to 12 grey levels around 0."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    (fast, slow), phase = 2 * np.pi / rng.uniform(250, 600, 2), rng.uniform(0, 2 * np.pi, 2)
    return 12 * np.sin(columns * fast + phase[0]) * np.cos(rows * slow + phase[1])


def _illumination(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return an illumination that falls from 1 to 0.45 away from a place near the middle."""
    place = rng.uniform(0.3, 0.7, 2) * shape
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    squared = ((rows - place[0]) / shape[0]) ** 2 + ((columns - place[1]) / shape[1]) ** 2
    return 1 - 0.55 * squared / max(squared.max(), 1e-9)


def _window(shape: tuple[int, int], x: float, y: float, r: float) -> tuple[slice, slice]:
    """Return the rows and columns within which a disc of this radius and its rim lie."""
    starts = (max(int(np.floor(centre - r - 1)), 0) for centre in (y, x))
    ends = (max(int(np.ceil(centre + r + 2)), 0) for centre in (y, x))
    rows, columns = (slice(start, min(end, n)) for start, end, n in zip(starts, ends, shape, strict=True))
    return rows, columns


def _distance(window: tuple[slice, slice], x: float, y: float) -> np.ndarray:
    rows, columns = np.ogrid[window]
    return np.hypot(rows - y, columns - x)


def _cover(light: np.ndarray, x: float, y: float, r: float, grey: float) -> None:
    """Lay a disc over the light; pixels of the rim are covered by the share that lies inside."""
    window = _window(light.shape, x, y, r)
    share = np.clip(r + 0.5 - _distance(window, x, y), 0, 1)
    light[window] += share * (grey - light[window])


def _tell(discs: np.ndarray, light: np.ndarray, pixels: np.ndarray) -> pd.DataFrame:
    rows = []
    for number, (x, y, r, grey) in enumerate(discs):
        side = np.arange(-np.ceil(r) - 1, np.ceil(r) + 2)
        around_y, around_x = np.meshgrid(side + np.floor(y), side + np.floor(x), indexing="ij")
        disc = np.hypot(around_y - y, around_x - x) <= r
        around_y, around_x = around_y[disc], around_x[disc]
        covered = np.zeros(len(around_x), bool)
        for later_x, later_y, later_r, _ in discs[number + 1 :]:
            covered |= np.hypot(around_y - later_y, around_x - later_x) <= later_r
        framed = (around_y >= 0) & (around_x >= 0) & (around_y < light.shape[0]) & (around_x < light.shape[1])
        place = around_y[framed].astype(int), around_x[framed].astype(int)
        means = [float(each[place].mean()) if framed.any() else np.nan for each in (pixels, light)]
        rows.append((x, y, r, grey, *means, (framed & ~covered).mean(), framed.mean()))
    return pd.DataFrame(rows, columns=list(_TRUTH), dtype=float)


def _check(shape: tuple[int, int], level: str, subject: Subject) -> None:
    if len(shape) != 2 or min(shape) < 1 or any(int(side) != side for side in shape):
        raise ValueError(f"shape must be two whole numbers above 0, rows and columns; got {shape}.")
    if level not in _LEVELS:
        raise ValueError(f"level must be clean, noisy or crowded; got {level!r}.")
    numbers = np.asarray(subject, float)
    if numbers.shape != (4,) or not np.all(np.isfinite(numbers)) or numbers[0] <= 0 or min(numbers[[1, 3]]) < 0:
        raise ValueError(
            f"subject must be mean and standard deviation of the radius and of the grey value; got {subject}."
        )


def _check_circles(circles: Sequence[Sequence[float]]) -> np.ndarray:
    discs = np.asarray(circles, float)
    discs = discs.reshape(0, 4) if discs.size == 0 else discs
    if discs.ndim != 2 or discs.shape[1] != 4 or not np.all(np.isfinite(discs)) or np.any(discs[:, 2] <= 0):
        raise ValueError(f"circles must be rows of x, y, r above 0 and grey value; got {circles}.")
    return discs
