"""Tiles blended into one image again, whatever their overlap."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from analysis.tiles._layout import Layout
from analysis.tiles._normalisation import convert_pixels
from analysis.tiles._weights import Blending, axis_weights

_FAINT = 1e-12
"""What a tile weighs at least where a neighbour is missing, so that the other is seen at its very edge."""
_EXACT = 2**53
"""Largest whole number that float64 holds exactly with all below."""


def merge_tiles(
    tiles: Iterable[np.ndarray],
    layout: Layout,
    *,
    blending: Blending = "gradient",
    dtype: str | np.dtype | None = None,
    missing: Collection[int] = (),
    fill: float = 0,
) -> np.ndarray:
    """Merge tiles into the image of their layout.

    Where tiles agree the image has exactly their value, in every type.

    Parameters
    ----------
    tiles
        (tile rows, tile columns[, channels]) each, of one type, in the order of the layout: cut from an image,
        or made from such tiles. A generator serves: a tile is looked at once.
    layout
        That the tiles were cut by.
    blending
        As in `axis_weights`.
    dtype
        Of the image; that of the tiles when None. Whole numbers are rounded and clipped.
    missing
        Numbers of tiles that are not among ``tiles``. Their neighbours take their place where they reach.
    fill
        Value of pixels that no tile covers, one that the type can hold.

    Returns
    -------
    numpy.ndarray
        (rows, columns[, channels]). A pixel is NaN where any of its tiles is, and where they hold infinities.

    Raises
    ------
    ValueError
        When tiles are too few or too many, differ in type or shape from the first or from the layout, are not
        numbers, or are whole numbers beyond 2**53; when the blending is unknown, ``missing`` names no tile, or the
        type cannot hold ``fill``.

    Examples
    --------
    >>> from analysis.tiles import cut_tiles, make_layout
    >>> image = np.arange(35, dtype=np.uint16).reshape(5, 7)
    >>> layout = make_layout(image.shape, tile_size=4, overlap=2)
    >>> np.array_equal(merge_tiles(cut_tiles(image, layout), layout), image)
    True
    """
    merged, row = np.empty(0), 0
    for band in merge_bands(tiles, layout, blending=blending, dtype=dtype, missing=missing, fill=fill):
        if not row:
            merged = np.empty((*layout.shape, *band.shape[2:]), band.dtype)
        merged[row : row + len(band)] = band
        row += len(band)
    return merged


def merge_bands(
    tiles: Iterable[np.ndarray],
    layout: Layout,
    *,
    blending: Blending = "gradient",
    dtype: str | np.dtype | None = None,
    missing: Collection[int] = (),
    fill: float = 0,
) -> Iterator[np.ndarray]:
    """Merge tiles into bands of finished rows, holding one row of tiles at a time.

    Parameters
    ----------
    tiles, layout, blending, dtype, missing, fill
        As in `merge_tiles`.

    Yields
    ------
    numpy.ndarray
        (some rows, columns[, channels]): the image from top to bottom.

    Raises
    ------
    ValueError
        As `merge_tiles`.
    """
    weights = axis_weights(layout, 0, blending), axis_weights(layout, 1, blending)
    absent = set(missing)
    if not absent <= set(range(len(layout))) or len(absent) == len(layout):
        wrong = sorted(absent - set(range(len(layout)))) or "all of them"
        raise ValueError(f"missing must name some of the tiles 0 to {len(layout) - 1}; got {wrong}.")
    checked = _Tiles(tiles, layout, absent)
    wanted = np.dtype(dtype or checked.dtype)
    if wanted.kind != "f" and convert_pixels(np.array(fill), wanted) != fill:
        raise ValueError(f"fill must be a value that {wanted} can hold; got {fill}.")
    bands = _merge_some(checked, layout, *weights, fill) if absent else _merge_all(checked, layout, *weights)
    return _finish(bands, checked, layout, dtype, fill)


def _to_shares(weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Turn weights into the share of each tile in the mean of itself and all tiles before it.

    A mean that is moved towards one tile after another stays exactly where it is when they agree.
    """
    size = weights.shape[1]
    so_far, shares = np.zeros(starts[-1] + size), np.empty_like(weights)
    for share, weight, start in zip(shares, weights, starts.tolist(), strict=True):
        here = so_far[start : start + size]
        here += weight
        share[:] = np.divide(weight, here, out=np.ones(size), where=here > 0)
    return shares


class _Tiles:
    """Tiles one after another, each checked against the layout and the first."""

    def __init__(self, tiles: Iterable[np.ndarray], layout: Layout, absent: set[int]):
        self.tiles, self.layout, self.absent, self.number = iter(tiles), layout, absent, 0
        self.wanted = len(layout) - len(absent)
        self.first = self._next()
        if self.first.dtype.kind not in "buif":
            raise ValueError(f"tiles must be numbers; got {self.first.dtype}.")
        self.shape, self.dtype = (*layout.tile_size, *self.first.shape[2:3]), self.first.dtype
        self.work = np.result_type(self.dtype, np.float32)

    def __next__(self) -> np.ndarray | None:
        number, self.number = self.number, self.number + 1
        if number in self.absent:
            return None
        tile, self.first = (self._next() if self.first is None else self.first), None
        return self._check(tile, number)

    def _next(self) -> np.ndarray:
        tile = next(self.tiles, None)
        if tile is None:
            raise ValueError(f"tiles must be {self.wanted}, as the layout says; got fewer.")
        return np.asarray(tile)

    def end(self) -> None:
        if next(self.tiles, None) is not None:
            raise ValueError(f"tiles must be {self.wanted}, as the layout says; got more.")

    def _check(self, tile: np.ndarray, number: int) -> np.ndarray:
        if tile.shape != self.shape:
            wanted = " x ".join(map(str, self.shape))
            raise ValueError(f"tiles must all be {wanted}, as the layout and the first; tile {number} is {tile.shape}.")
        if tile.dtype != self.dtype:
            raise ValueError(f"tiles must all have one type; tile {number} is {tile.dtype}, not {self.dtype}.")
        if tile.dtype.kind in "ui" and tile.dtype.itemsize == 8 and max(int(tile.max()), -int(tile.min())) > _EXACT:
            raise ValueError(f"tiles must hold whole numbers up to 2**53; tile {number} goes beyond.")
        return tile


def _merge_all(tiles: _Tiles, layout: Layout, rows: np.ndarray, columns: np.ndarray) -> Iterator[np.ndarray]:
    """Yield finished bands: every row of tiles is blended sideways, then downwards with what is above."""
    rows, columns = _to_shares(rows, layout.starts_y), _to_shares(columns, layout.starts_x)
    above = None
    for start, after, height, share in _rows_of_tiles(layout, rows):
        shared = 0 if above is None else len(above)
        below = top = None
        for number, column in enumerate(layout.starts_x.tolist()):
            tile = next(tiles)[:height]
            if below is None:
                wide = (layout.shape[1], *tiles.shape[2:])
                below, top = np.empty((height, *wide), tiles.work), np.empty((shared, *wide), tiles.work)
            before = int(layout.starts_x[number - 1]) + layout.tile_size[1] - column if number else 0
            # what is shared with the row above is put aside, the rest stands in its place at once
            _blend_sideways(top, tile[:shared], column, before, columns[number])
            _blend_sideways(below[shared:], tile[shared:], column, before, columns[number])
        if shared:
            _move_towards(above, top, share[:shared, None], out=below[:shared])
        yield below[: after - start]
        above = below[after - start :]


def _rows_of_tiles(layout: Layout, shares: np.ndarray) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """Yield the start of each row of tiles, that of the next, the height within the image, and the weights."""
    ends = [*layout.starts_y[1:].tolist(), layout.covered[0]]
    for start, after, share in zip(layout.starts_y.tolist(), ends, shares, strict=True):
        yield start, after, min(layout.tile_size[0], layout.shape[0] - start), share


def _blend_sideways(band: np.ndarray, tile: np.ndarray, column: int, shared: int, share: np.ndarray) -> None:
    """Put a tile into its columns of a band, of which tiles to the left have filled the first."""
    here = band[:, column : column + tile.shape[1]]
    shared = min(shared, here.shape[1])
    here[:, shared:] = tile[:, shared : here.shape[1]]
    if shared:
        _move_towards(here[:, :shared], tile[:, :shared], share[None, :shared], out=here[:, :shared])


def _move_towards(mean: np.ndarray, values: np.ndarray, share: np.ndarray, out: np.ndarray) -> None:
    """Move a mean towards values by a share of their distance."""
    share = share.reshape(*share.shape, *(1,) * (mean.ndim - 2)).astype(mean.dtype)
    with np.errstate(invalid="ignore"):  # between infinities
        change = np.subtract(values, mean, dtype=mean.dtype)
        change *= share
        np.add(mean, change, out=out)


def _merge_some(
    tiles: _Tiles, layout: Layout, rows: np.ndarray, columns: np.ndarray, fill: float
) -> Iterator[np.ndarray]:
    """Yield finished bands when tiles are missing, so that weights differ from pixel to pixel."""
    width = layout.shape[1]
    mean, weight = np.empty((0, width, *tiles.shape[2:]), tiles.work), np.empty((0, width))
    for start, after, height, down in _rows_of_tiles(layout, rows):
        line = [next(tiles) for _ in layout.starts_x]
        fresh = height - len(mean)
        mean = np.concatenate([mean, np.full((fresh, *mean.shape[1:]), fill, mean.dtype)])
        weight = np.concatenate([weight, np.zeros((fresh, width))])
        for tile, column, across in zip(line, layout.starts_x.tolist(), columns, strict=True):
            if tile is None:
                continue
            here = np.s_[:, column : column + layout.tile_size[1]]
            own = np.maximum(np.outer(down[:height], across[: weight[here].shape[1]]), _FAINT)
            weight[here] += own
            seen = mean[here]
            _move_towards(seen, tile[:height, : seen.shape[1]], own / weight[here], out=seen)
        yield mean[: after - start]
        mean, weight = mean[after - start :], weight[after - start :]


def _finish(
    bands: Iterator[np.ndarray], tiles: _Tiles, layout: Layout, dtype: str | np.dtype | None, fill: float
) -> Iterator[np.ndarray]:
    """Fill what no tile reaches, and turn bands into the type asked for."""
    lost = layout.shape[0] - layout.covered[0]
    dtype = np.dtype(dtype or tiles.dtype)
    for band in bands:
        band[:, layout.covered[1] :] = fill
        yield _convert(band, tiles.dtype, dtype)
    tiles.end()
    if lost:
        yield _convert(np.full((lost, *band.shape[1:]), fill, band.dtype), tiles.dtype, dtype)


def _convert(band: np.ndarray, before: np.dtype, after: np.dtype) -> np.ndarray:
    if before.kind in "ui" and before == after:
        # a mean of whole numbers is within their type: one look at the pixels, for rounding, is enough
        return np.rint(band, out=np.empty(band.shape, after), casting="unsafe")
    return convert_pixels(band, after)
