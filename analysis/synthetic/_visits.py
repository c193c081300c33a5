"""Where a microscope goes in a grid square: stage positions, the holes reached from each, and places shown again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_SQUARE_APART_UM = 130.0
_RING = 0.18  # of the spacing: the usual 0.45 um in holes 2.5 um apart
_WIDE_RING = 0.28


def make_rotation(angle_deg: float) -> np.ndarray:
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return np.array([[cosine, -sine], [sine, cosine]])


def make_cluster(groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lattice cells nearest to a stage position, and that position in units of the lattice.

    The position is the one of a hole, an edge or a middle of four that keeps the cells closest together.
    """
    reach = math.isqrt(groups) + 2
    grid = np.array([(i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1)])
    best = None
    for centre in np.array([(0.0, 0.0), (0.5, 0.5), (0.5, 0.0)]):
        apart = np.sum((grid - centre) ** 2, axis=1)
        order = np.lexsort((grid[:, 1], grid[:, 0], np.round(apart, 6)))[:groups]
        spread = np.sum((grid[order] - grid[order].mean(axis=0)) ** 2)
        if best is None or spread < best[0] - 1e-9:
            best = spread, grid[order], centre
    return best[1], best[2]


def tile_clusters(cells: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` shifts of a cluster, nearest to 0 first, that share no cell; as dense as a lattice allows."""
    between = {tuple(v) for v in (cells[:, None] - cells[None]).reshape(-1, 2).tolist()} - {(0, 0)}
    # every lattice of shifts has one basis of the form (a, 0), (b, d) with 0 <= b < a
    for area in range(len(cells), 4 * len(cells) + 1):
        for a in (n for n in range(1, area + 1) if area % n == 0):
            d = area // a
            for b in range(a):
                if not any(v % d == 0 and (u - v // d * b) % a == 0 for u, v in between):
                    return _nearest_shifts(a, b, d, count)
    raise AssertionError("some lattice keeps clusters apart")


def _nearest_shifts(a: int, b: int, d: int, count: int) -> np.ndarray:
    reach = 4 * (math.isqrt(count * a * d) + a + d)
    shifts = [
        (n * a + m * b, m * d)
        for m in range(-(reach // d), reach // d + 1)
        for n in range((-reach - m * b) // a, (reach - m * b) // a + 1)
    ]
    return np.array(sorted(shifts, key=lambda s: (s[0] ** 2 + s[1] ** 2, s))[:count])


def _shot_offsets(shots: int, spacing_um: float, turn_deg: float) -> np.ndarray:
    """(shots, 2) um from the centre of the hole: on a ring, from five on with one in the middle."""
    if shots == 1:
        return np.zeros((1, 2))
    ring = shots if shots < 5 else shots - 1
    angles = np.radians(turn_deg) + 2 * np.pi * np.arange(ring) / ring
    circle = (_RING if shots < 5 else _WIDE_RING) * spacing_um * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return circle if shots < 5 else np.vstack([np.zeros((1, 2)), circle])


def plan_square(square: int, settings: dict[str, Any], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return the exposures of one grid square in the order of time, each with its stage and place."""
    spacing = settings["hole_spacing_um"]
    lattice = spacing * make_rotation(settings["lattice_angle_deg"])
    cells, centre = make_cluster(settings["groups"])
    shifts = tile_clusters(cells, settings["stage_positions"])
    shifts = shifts[np.lexsort((shifts[:, 0], shifts[:, 1]))]
    origin = np.array([square % 8 - 4, square // 8 - 3]) * _SQUARE_APART_UM + rng.uniform(-5, 5, 2)
    offsets = _shot_offsets(settings["shots"], spacing, settings["lattice_angle_deg"] + 97)
    visits, hole_number = [], 0
    for position, shift in enumerate(shifts):
        target = origin + lattice @ (shift + centre)
        error = np.clip(rng.standard_normal(2), -2.5, 2.5) * settings["stage_noise_um"]
        for cell in cells:
            hole = origin + lattice @ (shift + cell) + settings["hole_noise_um"] * rng.standard_normal(2)
            for area, offset in enumerate(offsets):
                visits.append({
                    "square": square, "position": position, "hole": hole_number, "area": area,
                    "stage": target + error, "offset": offset,
                    "place": hole + offset + (0 if settings["compensated"] else error),
                    "kind": "", "of": None,
                })  # fmt: skip
            hole_number += 1
    return _plant(visits, hole_number, square, settings, rng)


def _plant(visits, holes, square, settings, rng):
    """Add this square's share of duplicates, each in a hole of its own."""
    wanted = [
        ("missed_stage_move", "missed_stage_moves"), ("repeated_shot", "repeated_shots"),
        ("hole_reexposed", "re_exposed_holes"), ("triple", "triples"), ("partial", "partial_overlaps"),
    ]  # fmt: skip
    squares, number = settings["grid_squares"], 0
    kinds = []
    for kind, name in wanted:
        # the n-th of all planted goes to square n modulo squares, so that every square has some
        total = settings[name]
        kinds += [kind] * sum((number + i) % squares == square for i in range(total))
        number += total
    chosen = rng.choice(holes, size=len(kinds), replace=False)
    end, new_hole = [], holes
    for kind, hole in zip(kinds, chosen, strict=True):
        first = [visit for visit in visits if visit["hole"] == hole and not visit["kind"]]
        added = _again(kind, first, new_hole, settings, rng)
        new_hole = max(new_hole, *(visit["hole"] + 1 for visit in added))
        if kind in ("missed_stage_move", "repeated_shot"):
            last = max(i for i, visit in enumerate(visits) if visit["position"] == first[0]["position"])
            visits[last + 1 : last + 1] = added
        else:
            end += added
    return visits + end


def _again(kind, first, new_hole, settings, rng):
    """Return the exposures that show a place of the hole again."""
    spread, beam = settings["stage_noise_um"], settings["beam_diameter_um"]
    if kind == "missed_stage_move":
        slip = 0.004 * rng.standard_normal(2)
        return [_copy(v, kind, v["stage"], v["place"] + slip, new_hole) for v in first]
    if kind == "repeated_shot":
        shot = first[rng.integers(len(first))]
        return [_copy(shot, kind, shot["stage"], shot["place"] + 0.002 * rng.standard_normal(2), shot["hole"])]
    # the stage came back to this hole from elsewhere, so it certainly stands at another reading
    stage = first[0]["stage"] + _direction(rng) * (0.25 + abs(spread * rng.standard_normal()))
    if kind == "hole_reexposed":
        slip = _direction(rng) * rng.uniform(0.01, 0.15)
        return [_copy(v, kind, stage, v["place"] + slip, new_hole) for v in first]
    if kind == "triple":
        return [
            _copy(first[0], kind, stage + i * _direction(rng) * 0.3, first[0]["place"] + 0.02 * _direction(rng), new)
            for i, new in enumerate((new_hole, new_hole + 1))
        ]
    shot = first[rng.integers(len(first))]
    outward = _direction(rng) if not shot["offset"].any() else shot["offset"] / np.linalg.norm(shot["offset"])
    return [_copy(shot, kind, stage, shot["place"] + outward * rng.uniform(0.31, 0.35) * beam, new_hole)]


def _copy(visit, kind, stage, place, hole):
    return {**visit, "kind": kind, "stage": stage, "place": place, "hole": hole, "of": visit}


def _direction(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([math.cos(angle), math.sin(angle)])
