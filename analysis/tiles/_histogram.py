"""The range of values of images, by minimum and maximum or by exact percentiles over any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.tiles._cutting import Pixels

_BLOCK = 2**20
"""Values counted at once."""
_DIGIT = 16
"""Bits that one look at the pixels sorts by."""


@dataclass(frozen=True)
class Histogram:
    """How often every value occurs, of images of whole numbers of at most 16 bits; they can be added.

    Attributes
    ----------
    first
        Value that the first count is of.
    counts
        (values,) int64: pixels of the value ``first``, ``first + 1``, ...
    """

    first: int
    counts: np.ndarray

    @property
    def pixels(self) -> int:
        """Number of values counted."""
        return int(self.counts.sum())

    @property
    def values(self) -> np.ndarray:
        """(values,) what is counted."""
        return np.arange(self.first, self.first + len(self.counts))

    def __add__(self, other: Histogram) -> Histogram:
        """Return the histogram of all pixels of both."""
        first = min(self.first, other.first)
        end = max(self.first + len(self.counts), other.first + len(other.counts))
        counts = np.zeros(end - first, np.int64)
        for each in (self, other):
            counts[each.first - first : each.first - first + len(each.counts)] += each.counts
        return Histogram(first, counts)

    def percentiles(self, percentiles: Sequence[float]) -> tuple[float, ...]:
        """Return values below which these percentages of the pixels lie, as `numpy.percentile` does by default."""
        ends = np.cumsum(self.counts)
        return _interpolate(percentiles, int(ends[-1]), lambda rank: self.first + np.searchsorted(ends, rank, "right"))


@dataclass(frozen=True)
class Range:
    """Values that images are stretched between.

    Attributes
    ----------
    low, high
        The values; tuples of one for every channel when these were looked at one by one.
    pixels
        Values looked at, of all channels.
    left_out
        NaN and infinities among them, which do not count.
    percentiles
        Percentages of the pixels that lie below low and below high.
    """

    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    pixels: int
    left_out: int = 0
    percentiles: tuple[float, float] = (0, 100)


def make_histogram(image: Pixels) -> Histogram:
    """Count how often every value occurs.

    Parameters
    ----------
    image
        Any shape, of whole numbers of at most 16 bits.

    Returns
    -------
    Histogram
        Of all values that the type can have.

    Raises
    ------
    ValueError
        When the image is of another type.

    Examples
    --------
    >>> half = np.array([[3, 3, 7]], np.uint8)
    >>> both = make_histogram(half) + make_histogram(half)
    >>> both.pixels, both.counts[3], both.percentiles((0, 50, 100))
    (6, np.int64(4), (3.0, 3.0, 7.0))
    """
    return _add_up(_blocks(image))


def find_range(
    images: Pixels | Iterable[Pixels], *, percentiles: Sequence[float] = (0, 100), by_channel: bool = False
) -> Range:
    """Find the values that a percentage of the pixels lies below, exactly and over any number of images.

    Percentiles are those of `numpy.percentile` by its default method, linear, of all pixels together. Images of
    at most 16 bits, and minimum and maximum of any, take one look at the pixels; other percentiles take two looks
    for 32 bits and four for 64. Memory does not grow with the images.

    Parameters
    ----------
    images
        An image (rows, columns[, channels]), or several; each may be anything that has a shape and gives windows.
        A list, or an object that yields them anew each time, when more than one look is needed.
    percentiles
        Two of 0 to 100, the lower one first.
    by_channel
        Whether every channel, along the third axis, has a range of its own.

    Returns
    -------
    Range
        NaN and infinities do not count.

    Raises
    ------
    ValueError
        When the percentiles are not two of 0 to 100 in order; when no pixel is finite; when images of several
        types include other than whole numbers of at most 16 bits, and more than minimum and maximum is asked for;
        when channels are asked for and images have none or differ in their number.
    TypeError
        When an image is not of numbers, or a generator was given and more than one look is needed.

    Examples
    --------
    >>> found = find_range(np.arange(101, dtype=np.uint16).reshape(1, 101), percentiles=(1, 99.5))
    >>> found.low, found.high
    (1.0, 99.5)
    """
    pair = tuple(percentiles)
    if len(pair) != 2 or not 0 <= pair[0] < pair[1] <= 100:
        raise ValueError(f"percentiles must be two of 0 to 100, the lower one first; got {percentiles!r}.")
    images = [images] if hasattr(images, "shape") else images
    if not by_channel:
        return _find_range(images, pair, None)
    images = list(images) if iter(images) is images else images
    channels = {image.shape[2] if len(image.shape) == 3 else 0 for image in images}
    if len(channels) != 1 or 0 in channels:
        raise ValueError(f"images must all have the same channels to be looked at by channel; got {sorted(channels)}.")
    found = [_find_range(images, pair, channel) for channel in range(channels.pop())]
    return Range(
        tuple(each.low for each in found),
        tuple(each.high for each in found),
        sum(each.pixels for each in found),
        sum(each.left_out for each in found),
        pair,
    )


def _find_range(images: Iterable[Pixels], percentiles: tuple[float, float], channel: int | None) -> Range:
    if percentiles == (0, 100):
        return _find_ends(_all_blocks(images, channel))
    if iter(images) is images:
        raise TypeError("images must be a list, or yield images anew each time, for percentiles; got a generator.")
    first = next(_all_blocks(images, channel), None)
    if first is None:
        raise ValueError("images must have a finite pixel; got none at all.")
    if _is_short(first.dtype):
        found = _add_up(_all_blocks(images, channel))
        return Range(*found.percentiles(percentiles), found.pixels, 0, percentiles)
    return _select(images, percentiles, channel, first.dtype)


def _find_ends(blocks: Iterator[np.ndarray]) -> Range:
    low, high, pixels, left_out = np.inf, -np.inf, 0, 0
    for block in blocks:
        ends = block.min(), block.max()
        pixels += block.size
        if not np.all(np.isfinite(ends)):
            finite = block[np.isfinite(block)]
            left_out += block.size - finite.size
            if not finite.size:
                continue
            ends = finite.min(), finite.max()
        low, high = min(low, float(ends[0])), max(high, float(ends[1]))
    if low > high:
        raise ValueError(f"images must have a finite pixel; got {pixels} without one.")
    return Range(low, high, pixels, left_out)


def _all_blocks(images: Iterable[Pixels], channel: int | None) -> Iterator[np.ndarray]:
    for image in images:
        yield from _blocks(image, channel)


def _blocks(image: Pixels, channel: int | None = None) -> Iterator[np.ndarray]:
    """Yield an image in pieces of rows, or one of its channels."""
    values = int(np.prod(image.shape[1:], dtype=np.int64))
    rows = max(1, _BLOCK // max(values, 1))
    for row in range(0, image.shape[0], rows):
        block = np.asarray(image[row : row + rows])
        if block.dtype.kind not in "buif":
            raise TypeError(f"images must be of numbers; got {block.dtype}.")
        if block.size:
            yield block if channel is None else block[..., channel]


def _is_short(dtype: np.dtype) -> bool:
    return dtype.kind in "bui" and dtype.itemsize <= 2


def _add_up(blocks: Iterable[np.ndarray]) -> Histogram:
    total: dict[np.dtype, np.ndarray] = {}
    for block in blocks:
        if not _is_short(block.dtype):
            raise ValueError(f"images must be whole numbers of at most 16 bits to be counted; got {block.dtype}.")
        size = 2 ** (8 * block.dtype.itemsize)
        counts = np.bincount(block.ravel().view(f"u{block.dtype.itemsize}"), minlength=size)
        total[block.dtype] = total.get(block.dtype, 0) + counts
    found = [_unwrap(dtype, counts) for dtype, counts in total.items()]
    return sum(found[1:], found[0]) if found else Histogram(0, np.zeros(1, np.int64))


def _unwrap(dtype: np.dtype, counts: np.ndarray) -> Histogram:
    """Put the counts of negative numbers, which were counted as large ones, first."""
    if dtype.kind != "i":
        return Histogram(0, counts)
    return Histogram(-len(counts) // 2, np.roll(counts, len(counts) // 2))


def _select(images: Iterable[Pixels], percentiles: tuple[float, float], channel: int | None, dtype: np.dtype) -> Range:
    """Find percentiles of longer numbers 16 bits at a time, from the highest, over numbers in order of their bits."""
    bits = 8 * dtype.itemsize
    counts, left_out = _count_digits(images, channel, dtype, {0}, bits)
    pixels = int(counts[0].sum())
    if not pixels:
        raise ValueError(f"images must have a finite pixel; got {left_out} without one.")
    prefix = {rank: (0, rank) for rank in _ranks(percentiles, pixels)}  # and the rank among those that share it
    for below in range(bits - _DIGIT, -1, -_DIGIT):
        for rank, (start, within) in prefix.items():
            ends = np.cumsum(counts[start])
            digit = int(np.searchsorted(ends, within, "right"))
            prefix[rank] = (start << _DIGIT) | digit, within - int(ends[digit] - counts[start][digit])
        if below:
            counts, _ = _count_digits(images, channel, dtype, {start for start, _ in prefix.values()}, below)
    values = {rank: _from_key(key, dtype) for rank, (key, _) in prefix.items()}
    return Range(*_interpolate(percentiles, pixels, values.__getitem__), pixels + left_out, left_out, percentiles)


def _count_digits(
    images: Iterable[Pixels], channel: int | None, dtype: np.dtype, prefixes: set[int], bits: int
) -> tuple[dict[int, np.ndarray], int]:
    """Count, among numbers that begin with each prefix, the 16 bits after it; ``bits`` come after the prefix."""
    counts = {prefix: np.zeros(2**_DIGIT, np.int64) for prefix in prefixes}
    left_out = 0
    for block in _all_blocks(images, channel):
        if block.dtype != dtype:
            raise ValueError(
                f"images must all have one type for percentiles; got {dtype} and {block.dtype}. Convert them, or use"
                " minimum and maximum."
            )
        keys, lost = _to_keys(block)
        left_out += lost
        for prefix in prefixes:
            own = keys if bits == 8 * dtype.itemsize else keys[keys >> bits == prefix]
            digits = (own >> (bits - _DIGIT)) & (2**_DIGIT - 1)
            counts[prefix] += np.bincount(digits.astype(np.uint16), minlength=2**_DIGIT)
    return counts, left_out


def _to_keys(block: np.ndarray) -> tuple[np.ndarray, int]:
    """Return finite numbers as unsigned whole ones in the same order, and how many were not finite."""
    size = block.dtype.itemsize
    top = np.array(1 << (8 * size - 1), f"u{size}")
    if block.dtype.kind != "f":
        keys = np.ascontiguousarray(block).ravel().view(f"u{size}")
        return keys ^ top if block.dtype.kind == "i" else keys, 0
    finite = block[np.isfinite(block)]
    keys = finite.view(f"u{size}")
    negative = keys >= top
    return np.where(negative, ~keys, keys | top), block.size - finite.size


def _from_key(key: int, dtype: np.dtype) -> float:
    bits = 8 * dtype.itemsize
    top, most = 1 << (bits - 1), (1 << bits) - 1
    if dtype.kind == "u":
        return float(key)
    if dtype.kind == "i":
        return float(key - top)
    pattern = key ^ top if key & top else key ^ most
    return float(np.array(pattern, f"u{dtype.itemsize}").view(dtype))


def _ranks(percentiles: Sequence[float], pixels: int) -> set[int]:
    """Return the places, among sorted pixels, of the numbers on both sides of the percentiles."""
    places = [percentile / 100 * (pixels - 1) for percentile in percentiles]
    return {rank for place in places for rank in (int(place), min(int(place) + 1, pixels - 1))}


def _interpolate(percentiles: Sequence[float], pixels: int, value_at: Callable[[int], float]) -> tuple[float, ...]:
    """Return values between the two numbers that a percentile lies between."""
    found = []
    for percentile in percentiles:
        place = percentile / 100 * (pixels - 1)
        before, share = int(place), place - int(place)
        low, high = float(value_at(before)), float(value_at(min(before + 1, pixels - 1)))
        # from the nearer end, as numpy.percentile does, so that equal ends give themselves
        found.append(low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share))
    return tuple(found)
