"""Circles fitted to edges along rays, coarsely in the halved image and then between the pixels of the image.

From the middle of a circle, rays go out at equal angles. Where the rim lies ``d`` beyond the circle at angle ``a``,
``d = dx cos a + dy sin a + dr`` to first order, so a few turns of weighted least squares give the circle with the least
squared distances (Gauss-Newton; Gander, Golub and Strebel 1994, doi:10.1007/BF01934268). Weights after Tukey keep rays
out that met another rim.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analysis.circles._edges import EDGE_SNR, Edges

RAYS = 64
FINE_RAYS = 128
_SAMPLES = 13
_CHUNK = 2048
_WIDEST_BLUR_PX = 3.0


@dataclass(frozen=True)
class Trace:
    """Edges that rays from the middle of circles met.

    Attributes
    ----------
    offset
        (circles, rays) how far beyond the circle the edge lies.
    strength
        (circles, rays) gradient outwards in standard deviations of its noise: below 0 for a bright disc; 0 where the
        ray met no edge across it.
    framed
        (circles, rays) whether the ray meets the circle within the frame.
    """

    offset: np.ndarray
    strength: np.ndarray
    framed: np.ndarray


def ray_directions(rays: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and sine of angles that go round once."""
    angle = (np.arange(rays) + 0.5) * (2 * np.pi / rays)
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def trace(
    edges: Edges, circles: np.ndarray, window: np.ndarray, *, aligned: float, samples: int = _SAMPLES,
    prior: float = 0.5, least: float = EDGE_SNR,
) -> Trace:  # fmt: skip
    """Look along rays for the strongest edge across them within a window around each circle of the halved image.

    Parameters
    ----------
    edges
        Of the image.
    circles
        (circles, 3) column, row, radius.
    window
        (circles,) how far to look on either side.
    aligned
        Least cosine of the angle between gradient and ray.
    samples
        Number of places looked at along a ray.
    prior
        How much less an edge at the end of the window counts than one on the circle.
    least
        Least gradient of an edge, in standard deviations of its noise.
    """
    circles = circles.astype(np.float32)
    cos, sin = ray_directions(RAYS)
    rows, columns = edges.across.shape
    side = np.linspace(-1, 1, samples, dtype=np.float32)
    offset = window.astype(np.float32)[:, None] * side  # circles, samples
    reach = circles[:, 2:] + offset
    x = circles[:, 0, None, None] + reach[:, None, :] * cos[:, None]
    y = circles[:, 1, None, None] + reach[:, None, :] * sin[:, None]
    column, row = (x + np.float32(0.5)).astype(np.int32), (y + np.float32(0.5)).astype(np.int32)
    outside = (x < -0.5) | (y < -0.5) | (column >= columns) | (row >= rows) | (reach[:, None, :] < 1)
    inside = ~outside
    index = (row * columns + column) * inside  # what lies outside looks at the first pixel, and does not count
    across, down = np.take(edges.across, index, mode="clip"), np.take(edges.down, index, mode="clip")
    outward = across * cos[:, None] + down * sin[:, None]
    squared = across * across + down * down
    met = (outward * outward > squared * np.float32(aligned**2)) & (squared > least**2) & inside
    size = np.abs(outward) * met
    best = np.argmax(size * (1 - prior * side**2), axis=-1)[..., None]
    strength = np.take_along_axis(outward * met, best, -1)[..., 0]
    # the top of the parabola through the sample and the two beside
    middle = np.take_along_axis(size, best, -1)[..., 0]
    before = np.take_along_axis(size, np.maximum(best - 1, 0), -1)[..., 0]
    after = np.take_along_axis(size, np.minimum(best + 1, samples - 1), -1)[..., 0]
    bend = 2 * middle - before - after
    shift = np.where((bend > 0) & (before > 0) & (after > 0), (after - before) / np.maximum(2 * bend, 1e-6), 0)
    step = 2 / (samples - 1)
    found = window[:, None] * (side[best[..., 0]] + np.clip(shift, -0.5, 0.5) * step)
    return Trace(found, strength, ~outside[..., samples // 2])


def fit_coarsely(edges: Edges, circles: np.ndarray) -> np.ndarray:
    """Fit circles of the halved image to the edges around them; return (circles, 3), NaN for those that got lost."""
    parts = [_fit_chunk(edges, circles[at : at + _CHUNK]) for at in range(0, len(circles), _CHUNK)]
    return np.concatenate(parts) if parts else circles


def _fit_chunk(edges: Edges, circles: np.ndarray) -> np.ndarray:
    circles, start = circles.astype(float), circles
    for widest, share, aligned, scale in ((8.0, 0.22, 0.9, 0.4), (4.0, 0.12, 0.93, 0.4), (2.5, 0.08, 0.93, 0.4)):
        window = np.clip(share * circles[:, 2], 1.8, widest)
        traced = trace(edges, circles, window, aligned=aligned)
        weight = (traced.strength != 0).astype(float)
        step = _solve(traced.offset, weight, np.maximum(scale * window, 1.0))
        circles = circles + np.clip(step, -window[:, None], window[:, None])
        circles[:, 2] = np.maximum(circles[:, 2], 2.0)
    lost = np.hypot(*(circles - start)[:, :2].T) > 0.6 * start[:, 2] + 3
    circles[lost] = np.nan
    return circles


def _solve(offset: np.ndarray, weight: np.ndarray, scale: np.ndarray, turns: int = 4) -> np.ndarray:
    """Return (circles, 3) dx, dy, dr that explain the offsets: least squares with Tukey's weights of a given scale."""
    cos, sin = ray_directions(offset.shape[1])
    design = np.stack([cos, sin, np.ones_like(cos)], axis=1).astype(float)
    products = (design[:, :, None] * design[:, None, :]).reshape(len(cos), 9)
    robust, step = weight, np.zeros((len(offset), 3))
    for turn in range(turns):
        matrix = (robust @ products).reshape(-1, 3, 3) + np.eye(3) * 1e-3
        step = np.linalg.solve(matrix, ((robust * offset) @ design)[..., None])[..., 0]
        if turn < turns - 1:
            miss = (offset - step @ design.T) / (scale[:, None] * (2 if turn == 0 else 1))
            robust = weight * np.clip(1 - miss**2, 0, 1) ** 2 + 1e-6
    return step


def fit_finely(
    grey: np.ndarray, circles: np.ndarray, own: np.ndarray, *, turns: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Fit circles between the pixels of the image itself.

    Along each ray, the grey values across the rim are compared with a smooth step between the levels inside and
    outside; the filter matched to a shift of that step tells how far the rim is off. Where nothing but white noise
    blurs the rim, no other linear estimate is closer.

    Parameters
    ----------
    grey
        (rows, columns) image.
    circles
        (circles, 3) column, row and radius in its pixels.
    own
        (circles, coarse rays) which rays met the circle's own rim.
    turns
        How often.

    Returns
    -------
    circles
        (circles, 3) columns, rows and radii.
    contrast
        (circles,) grey values inside less those outside, weighted like the rays.
    """
    circles = circles.astype(float)
    cos, sin = ray_directions(FINE_RAYS)
    mine = np.repeat(own, FINE_RAYS // own.shape[1], axis=1)
    mine = (
        mine
        | (np.roll(mine, 1, axis=1) & np.roll(mine, -2, axis=1))
        | (np.roll(mine, 2, axis=1) & np.roll(mine, -1, axis=1))
    )
    for turn in range(turns):
        reach = np.float32((5.0, 4.0, 3.0, 3.0)[min(turn, 3)])
        side = np.arange(-reach - 2, reach + 2.5, 1.0, dtype=np.float32)
        profile, framed = _sample(grey, circles, side, cos, sin)
        inner, outer = side <= -reach, side >= reach
        inside, outside = profile[..., inner].mean(axis=-1), profile[..., outer].mean(axis=-1)
        inside, outside = _smooth_around(inside, framed), _smooth_around(outside, framed)
        jump = outside - inside
        width = reach / 3
        step = 0.5 * (1 + np.tanh(side / width))
        slope = 0.5 / width / np.cosh(side / width) ** 2
        miss = profile - inside[..., None] - jump[..., None] * step
        # a rim further out darkens a step up, hence the sign
        power = jump * (slope**2).sum()
        offset = -(miss @ slope) * power / np.maximum(power**2, 1e-12)
        typical = _median_where(np.abs(jump), mine & framed)
        counts = framed * mine * np.clip(jump**2 / np.maximum(typical**2, 1e-12), 0, 1)
        counts[np.abs(offset) > 1.5 * reach] = 0
        first = _solve(np.clip(offset, -reach, reach), counts, np.full(len(circles), float(reach)))
        left = offset - first @ np.stack([cos, sin, np.ones_like(cos)])
        spread = 1.48 * _median_where(np.abs(left), counts > 0)[:, 0]
        scale = np.clip(4.7 * spread, 0.5, float(reach))
        move = _solve(offset, counts, scale)
        weight = counts * (np.abs(left) < scale[:, None])
        circles = circles + np.clip(move, -reach, reach)
        circles[:, 2] = np.maximum(circles[:, 2], 1.0)
    circles[:, 2] += _spread(profile, inside, jump, weight, side) / (2 * circles[:, 2])
    contrast = -(jump * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-9)
    return circles, contrast


def _spread(
    profile: np.ndarray, inside: np.ndarray, jump: np.ndarray, weight: np.ndarray, side: np.ndarray
) -> np.ndarray:
    """Return the variance of the blur across each rim, in square pixels.

    A blurred rim of variance v has its middle v / 2r within the true one, because more of it lies outside than inside.
    """
    share = weight * jump
    mean = (share[..., None] * (profile - inside[..., None])).sum(axis=1)
    mean /= np.maximum((share * jump).sum(axis=1), 1e-12)[:, None]
    slope, at = np.diff(mean, axis=1), (side[1:] + side[:-1]) / 2
    near = np.abs(at) <= _WIDEST_BLUR_PX
    return np.clip((slope * at**2)[:, near].sum(axis=1), 0, _WIDEST_BLUR_PX)


def _median_where(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return (rows, 1) medians of the values that count; 0 where none does."""
    count = where.sum(axis=1)
    ranked = np.sort(np.where(where, values, np.inf), axis=1)
    middle = np.take_along_axis(ranked, np.maximum(count - 1, 0)[:, None] // 2, axis=1)
    return np.where(count[:, None] > 0, middle, 0.0)


def _sample(
    grey: np.ndarray, circles: np.ndarray, side: np.ndarray, cos: np.ndarray, sin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return (circles, rays, samples) grey values across the rim, and whether the rim lies within the frame."""
    reach = np.maximum(circles[:, 2:] + side, 0)
    x = circles[:, 0, None, None] + reach[:, None, :] * cos[:, None]
    y = circles[:, 1, None, None] + reach[:, None, :] * sin[:, None]
    profile = ndimage.map_coordinates(grey, [y, x], order=1, mode="nearest", output=np.float32)
    least = 1.5
    at = (np.abs(side) <= least).nonzero()[0]
    framed = np.ones(x.shape[:2], bool)
    for position, length in ((x, grey.shape[1]), (y, grey.shape[0])):
        framed &= np.all((position[..., at] >= 0) & (position[..., at] <= length - 1), axis=-1)
    return profile, framed


def _smooth_around(level: np.ndarray, framed: np.ndarray, reach: int = 4) -> np.ndarray:
    """Average a level over neighbouring rays within the frame."""
    size = 2 * reach + 1
    count = ndimage.uniform_filter1d(framed.astype(np.float32), size, axis=1, mode="wrap")
    total = ndimage.uniform_filter1d(np.where(framed, level, 0).astype(np.float32), size, axis=1, mode="wrap")
    return np.where(count > 1e-3, total / np.maximum(count, 1e-3), level)
