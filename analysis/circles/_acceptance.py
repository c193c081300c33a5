"""Which fitted circles are discs: those that enough edges support which no better circle explains.

Circles are taken one by one, the one with most support first. Its edges are then no other's. A circle must pass three
tests:

- the free edges support at least the strictness of its circumference within the frame;
- of what neither the frame nor a disc taken before hides, they support at least 0.58, and less only for a strictness
  below 0.3. An arc that ends for no reason, as pictures of all sorts are full of, is no disc;
- so many edges are unlikely by chance, which concentric circles of other radii tell. The negative logarithm of the
  probability, by Chernoff's bound (1952, doi:10.1214/aoms/1177729330), is at least 9. This is how textures and very
  small arcs drop out (after the a-contrario idea of Desolneux, Moisan and Morel 2000, doi:10.1023/A:1026593302236).

No disc lies within another. Once no circle passes, the rims of those taken are wiped out and the rest is fitted again.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from analysis.circles._edges import Edges
from analysis.circles._fit import RAYS, Trace, ray_directions, trace

ALIGNED = 0.97
"""Cosine of the largest angle between the gradient and the ray of an edge that supports a circle: 14 degrees."""
HOPE = 0.4
"""Share of the strictness from which on another fit is worth it."""
_RIM_SNR = 3.0
"""Least gradient of an edge along a rim, in standard deviations of its noise."""
_REVERSE = 0.5
"""What an edge of the polarity that the circle has less of counts."""
_POWER, _POWER_BESIDE, _WHOLE = 0.45, 0.8, 0.58
"""Powers of the strictness that give the least supported share of what nothing hides of a rim, up to that share."""
_LEAST_FRAMED, _LEAST_VISIBLE = 0.4, 0.25
"""Least share of a rim within the frame; share of a rim below which what is hidden does not excuse more."""
_RINGS, _RING_AWAY_PX, _RING_SHARE = (0.6, 0.75, 1.3, 1.5), 4.0, 0.25
"""Radii of the circles that tell what is met by chance, how far off they are at least, and how strong their edges."""
_ARC_PX, _EVIDENCE = 3.0, 9.0
"""Length of rim that tells one thing, and how much all must tell."""
_NESTED = 1.08


@dataclass(frozen=True)
class Support:
    """How well edges support circles of the halved image.

    Attributes
    ----------
    circles
        (circles, 3) column, row, radius.
    counted
        (circles, rays) what the edge counts that the ray met along the rim: 1, or half of it where its polarity is
        the one that the circle has less of; 0 for none.
    framed
        (circles, rays) whether the ray meets the circle within the frame.
    share
        (circles,) share of the circumference within the frame that is supported.
    x, y
        (circles, rays) where the edge was met.
    ring_x, ring_y, ring_met
        (circles, further rays) the same on concentric circles, where no rim is: what is met there is met by chance.
    """

    circles: np.ndarray
    counted: np.ndarray
    framed: np.ndarray
    share: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ring_x: np.ndarray
    ring_y: np.ndarray
    ring_met: np.ndarray


def tolerance(radius: np.ndarray) -> np.ndarray:
    """Return how far an edge may lie off a circle of the halved image."""
    return np.clip(0.05 * radius, 1.0, 2.0)


@dataclass(frozen=True)
class Accepted:
    """Circles that were taken for discs.

    Attributes
    ----------
    chosen
        Row numbers of the circles taken, in that order.
    own
        (chosen, rays) which rays met an edge that no circle taken before explains.
    open
        (circles,) which were neither taken nor are the same as one taken, nor within or around one.
    left
        (circles,) share of the circumference supported by edges that no circle taken explains.
    """

    chosen: np.ndarray
    own: np.ndarray
    open: np.ndarray
    left: np.ndarray


def measure_support(edges: Edges, circles: np.ndarray, strictness: float, polarity: str) -> Support:
    """Look at the rim of every circle, and around those that the rim supports by the strictness."""
    cos, sin = ray_directions(RAYS)
    traced = _rim(edges, circles)
    counted = _count(traced, polarity)
    framed = RAYS * np.maximum(traced.framed.mean(axis=1), _LEAST_FRAMED)
    reach = circles[:, 2:] + traced.offset
    x, y = circles[:, :1] + reach * cos, circles[:, 1:2] + reach * sin
    size = np.abs(traced.strength)
    least = np.maximum(_RING_SHARE * size.sum(axis=1) / np.maximum((size > 0).sum(axis=1), 1), _RIM_SNR)
    share = np.minimum(counted.sum(axis=1) / framed, 1)
    able = share >= strictness
    rings = np.zeros((3, len(circles), len(_RINGS) * RAYS), np.float32)
    rings[:, able] = np.concatenate([_ring(edges, circles[able], factor, least[able]) for factor in _RINGS], axis=-1)
    return Support(circles, counted, traced.framed, share, x, y, rings[0], rings[1], rings[2] > 0)


def _ring(edges: Edges, circles: np.ndarray, factor: float, least: np.ndarray) -> np.ndarray:
    """Return where rays meet edges along another radius, and whether they do; the blur of the rim is no such edge."""
    cos, sin = ray_directions(RAYS)
    away, change = circles.copy(), (factor - 1) * circles[:, 2]
    away[:, 2] += np.sign(change) * np.maximum(np.abs(change), _RING_AWAY_PX)
    traced = _rim(edges, away)
    reach = away[:, 2:] + traced.offset
    met = np.abs(traced.strength) > least[:, None]
    return np.stack([circles[:, :1] + reach * cos, circles[:, 1:2] + reach * sin, met])


def _rim(edges: Edges, circles: np.ndarray) -> Trace:
    return trace(edges, circles, tolerance(circles[:, 2]), aligned=ALIGNED, samples=5, prior=0.3, least=_RIM_SNR)


def _count(traced: Trace, polarity: str) -> np.ndarray:
    """Return (circles, rays) what each edge counts; nothing for circles that have more of the polarity not wanted."""
    bright, dark = traced.strength < 0, traced.strength > 0
    ahead = (bright.sum(axis=1) >= dark.sum(axis=1))[:, None]
    counted = np.where(ahead, bright + _REVERSE * dark, dark + _REVERSE * bright)
    return counted if polarity == "either" else counted * (ahead if polarity == "bright" else ~ahead)


def accept(support: Support, strictness: float, taken: np.ndarray, *, again: bool) -> Accepted:
    """Take the best supported circle, then the one best supported by the edges it leaves, and so on.

    Parameters
    ----------
    support
        Of the circles.
    strictness
        Least share of the circumference that must be supported by edges of which no circle taken before is the rim.
    taken
        (taken, 3) circles taken already.
    again
        Whether this is not the first look, after which less will do for circles over or under one taken.
    """
    state = _State(support, strictness)
    for circle in taken:
        state.take(circle)
    chosen, own = [], [np.zeros((0, RAYS), bool)]
    while len(state.free):
        left = state.left()
        rows = np.flatnonzero(state.open & state.within & (left >= strictness))
        rows = rows[state.passes(rows, again)]
        if not len(rows):
            break
        best = int(rows[np.argmax(left[rows])])
        chosen.append(best)
        own.append(state.free[best : best + 1] > 0)
        state.open[best] = False
        state.take(support.circles[best])
    return Accepted(np.array(chosen, int), np.concatenate(own), state.open, state.left())


class _State:
    """Which edges of which circles are still free while circles are taken one by one."""

    def __init__(self, support: Support, strictness: float):
        self.support, self.strictness = support, strictness
        self.free = support.counted.astype(np.float32)
        self.hidden = ~support.framed
        self.within = support.framed.mean(axis=1) >= _LEAST_FRAMED
        self.framed = RAYS * np.maximum(support.framed.mean(axis=1), _LEAST_FRAMED)
        # circles with less can only lose more; those with a little more may gain by another fit
        self.open = self.left() >= HOPE * strictness
        self.beside = np.zeros(len(self.open), bool)
        self.chance = support.ring_met.copy()
        self.cos, self.sin = ray_directions(RAYS)
        self.ring_cos, self.ring_sin = np.tile(self.cos, len(_RINGS)), np.tile(self.sin, len(_RINGS))

    def left(self) -> np.ndarray:
        """Return the share of each circumference within the frame that free edges support."""
        return self.free.sum(axis=1) / self.framed

    def passes(self, rows: np.ndarray, again: bool) -> np.ndarray:
        """Tell which circles have enough of what nothing hides of their rims, and more than chance gives."""
        free = self.free[rows]
        visible = np.maximum(1 - (self.hidden[rows] & (free == 0)).mean(axis=1), _LEAST_VISIBLE)
        power = np.where(self.beside[rows] & again, _POWER_BESIDE, _POWER)
        whole = np.maximum(np.minimum(self.strictness**power, _WHOLE), self.strictness)
        radius, framed = self.support.circles[rows, 2], self.framed[rows] / RAYS
        evidence = _evidence(free > 0, self.chance[rows].mean(axis=1), radius, framed)
        return (free.mean(axis=1) >= whole * visible) & (evidence >= _EVIDENCE)

    def take(self, circle: np.ndarray) -> None:
        """Leave no other circle the edges of this one, and close those that are the same or within it or around it."""
        x, y, r = circle
        cx, cy, cr = self.support.circles.T
        distance, least, most = np.hypot(cx - x, cy - y), np.minimum(cr, r), np.maximum(cr, r)
        self.open &= ~(_same(distance, cr, r) | (distance + least < _NESTED * most + 1))
        near = np.flatnonzero(self.open & (distance < r + _RINGS[-1] * cr + _RING_AWAY_PX + 4))
        if not len(near):
            return
        support = self.support
        explained = _explained(support.x[near], support.y[near], self.cos, self.sin, circle)
        self.free[near] *= ~explained
        able = self.left()[near] >= self.strictness
        near, explained = near[able], explained[able]
        if not len(near):
            return
        rim_x, rim_y = cx[near, None] + cr[near, None] * self.cos, cy[near, None] + cr[near, None] * self.sin
        self.hidden[near] |= explained | (np.hypot(rim_x - x, rim_y - y) < r + 1)
        self.beside[near] |= distance[near] < r + cr[near]
        ring = support.ring_x[near], support.ring_y[near]
        self.chance[near] &= ~_explained(*ring, self.ring_cos, self.ring_sin, circle)


def _same(distance: np.ndarray, first: np.ndarray, second: np.ndarray | float) -> np.ndarray:
    """Tell whether circles of two radii are one circle found twice."""
    least = np.minimum(first, second)
    return (distance < 0.3 * least + 1) & (np.abs(first - second) < 0.3 * least)


def repeated(circles: np.ndarray) -> np.ndarray:
    """Tell which circles are an earlier one found again."""
    x, y, r = circles.T
    same = _same(np.hypot(x[:, None] - x, y[:, None] - y), r[:, None], r)
    return np.tril(same, -1).any(axis=1)


def overlapping(circles: np.ndarray) -> np.ndarray:
    """Tell which circles reach into another by more than half a pixel."""
    x, y, r = circles.T
    apart = np.hypot(x[:, None] - x, y[:, None] - y) - r[:, None] - r
    np.fill_diagonal(apart, 0.0)
    return (apart < -0.5).any(axis=1)


def without_rims(edges: Edges, circles: np.ndarray) -> Edges:
    """Return edges without those that are rims of circles of the halved image."""
    across, down = edges.across.copy(), edges.down.copy()
    rows, columns = across.shape
    for circle in circles:
        x, y, r = circle
        reach = r + 3 + 0.03 * r
        window = (slice(max(int(y - reach), 0), max(int(y + reach) + 2, 0)),
                  slice(max(int(x - reach), 0), max(int(x + reach) + 2, 0)))  # fmt: skip
        row, column = np.ogrid[
            window[0].start : min(window[0].stop, rows), window[1].start : min(window[1].stop, columns)
        ]
        right, below = across[window], down[window]
        away = np.hypot(row - y, column - x)
        along = np.abs(right * (column - x) + below * (row - y))
        rim = (np.abs(away - r) < 2.5 + 0.03 * r) & (along > 0.85 * away * np.hypot(right, below))
        right[rim] = below[rim] = 0
    column, row = edges.place.astype(int).T
    left = (across[row, column] != 0) | (down[row, column] != 0)
    return dataclasses.replace(edges, across=across, down=down, place=edges.place[left], normal=edges.normal[left])


def _explained(
    met_x: np.ndarray, met_y: np.ndarray, cos: np.ndarray, sin: np.ndarray, circle: np.ndarray
) -> np.ndarray:
    """Tell which edges lie along the rim of a circle, and across it as a rim does."""
    x, y, r = circle
    dx, dy = met_x - np.float32(x), met_y - np.float32(y)
    away = np.hypot(dx, dy)
    return (np.abs(away - r) < 1.5 + 0.03 * r) & (np.abs(dx * cos + dy * sin) > 0.85 * away)


def _evidence(met: np.ndarray, chance: np.ndarray, radius: np.ndarray, framed: np.ndarray) -> np.ndarray:
    """Return how unlikely so many edges are by chance: the negative logarithm of Chernoff's bound (1952).

    Edges within a few pixels are one edge, so a small circle has few places that tell anything.
    """
    places = 2 * np.pi * radius * framed / _ARC_PX
    share, chance = np.clip(met.mean(axis=1) / framed, 1e-6, 1 - 1e-6), np.clip(chance / framed, 0.05, 0.95)
    gain = share * np.log(share / chance) + (1 - share) * np.log((1 - share) / (1 - chance))
    return np.where(share > chance, places * gain, 0.0)
