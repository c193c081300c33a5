"""Moments and the histogram of every patch in one look at its pixels.

The compiled functions take a band and where a window lies in it, in numbers without sign: of a window that was cut out
the compiler does not know that pixels of a row are neighbours, and then computes them one by one.
"""

from __future__ import annotations

import math

import numba
import numpy as np

BINS = 1024
"""Bins between the smallest and the largest value of a patch."""
COARSE = 64
"""Bins of the entropy: every 16 of the others together."""
COLUMNS = ("mean", "m2", "m3", "m4", "min", "max", "bin", "mode_cnt", "entropy")
"""What `measure_windows` writes. m2 to m4 are central moments, bin is the fullest one of the histogram."""


# inlined by force: code that is called is optimised otherwise where it was just compiled than where it was kept
@numba.njit(forceinline=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _total(band, top, left, rows_px, columns_px):
    total = 0
    for row in range(top, top + rows_px):
        for column in range(left, left + columns_px):
            total += band[row, column]
    return total


@numba.njit(forceinline=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _extremes(band, top, left, rows_px, columns_px):
    low, high = band[top, left], band[top, left]
    for row in range(top, top + rows_px):
        for column in range(left, left + columns_px):
            value = band[row, column]
            low = value if value < low else low
            high = value if value > high else high
    return low, high


@numba.njit(forceinline=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
def _central_sums(band, top, left, rows_px, columns_px, mean):
    second, third, fourth = 0.0, 0.0, 0.0
    for row in range(top, top + rows_px):
        for column in range(left, left + columns_px):
            d = band[row, column] - mean
            square = d * d
            second += square
            third += square * d
            fourth += square * square
    return second, third, fourth


# no contraction here: the edges must round as numpy.linspace rounds them
@numba.njit(nogil=True, error_model="numpy")
def _fill_bins(band, top, left, rows_px, columns_px, low, high, index, counts):
    step, scale = (high - low) / BINS, BINS / (high - low)
    counts[:] = 0
    for row in range(rows_px):
        start = row * columns_px
        for column in range(columns_px):
            value = np.float64(band[top + row, left + column])
            at = np.floor((value - low) * scale)
            at = at if at < BINS - 1.0 else BINS - 1.0
            less = 1.0 if value < at * step + low else 0.0
            more = 1.0 if value >= (at + 1.0) * step + low else 0.0
            at = at - less + more
            index[start + column] = np.int32(at if at < BINS - 1.0 else BINS - 1.0)
    for each in range(rows_px * columns_px):
        counts[np.uint32(index[each])] += 1


@numba.njit(nogil=True, error_model="numpy")
def _fullest(counts):
    most = counts[0]
    for each in range(1, counts.shape[0]):
        most = max(most, counts[each])
    for each in range(counts.shape[0]):
        if counts[each] == most:
            return each, most
    return 0, most


@numba.njit(nogil=True, error_model="numpy")
def _entropy(counts, pixels):
    total = 0.0
    share = counts.shape[0] // COARSE
    for coarse in range(COARSE):
        number = 0
        for each in range(coarse * share, (coarse + 1) * share):
            number += counts[each]
        if number > 0:
            total -= number / pixels * math.log2(number / pixels)
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def measure_windows(band, tops, lefts, rows_px, columns_px, moments, bins, entropy, out):
    """Write moments and the fullest bin of every window.

    Parameters
    ----------
    band
        (rows, columns) of uint8, uint16, float32 or float64.
    tops, lefts
        First rows and first columns of the windows, which are all combinations of these.
    rows_px, columns_px
        Size of a window.
    moments, bins, entropy
        Whether these are wanted; mean, smallest and largest value always are.
    out
        (windows, 9) float64, one column for each of `COLUMNS`; what is not wanted stays as it is. A window with a
        pixel that is not finite becomes NaN.
    """
    pixels = rows_px * columns_px
    index = np.empty(pixels, np.int32)
    counts = np.empty(BINS, np.int32)
    number = 0
    # of signed numbers each index is checked for being below 0, which keeps the compiler from taking several at once
    rows_px, columns_px = np.uint64(rows_px), np.uint64(columns_px)
    for signed_top in tops:
        for signed_left in lefts:
            top, left = np.uint64(signed_top), np.uint64(signed_left)
            told = out[number]
            number += 1
            mean = _total(band, top, left, rows_px, columns_px) / pixels
            if not math.isfinite(mean):
                told[:] = np.nan
                continue
            low, high = _extremes(band, top, left, rows_px, columns_px)
            told[0], told[4], told[5] = mean, low, high
            if moments:
                second, third, fourth = _central_sums(band, top, left, rows_px, columns_px, mean)
                told[1], told[2], told[3] = second / pixels, third / pixels, fourth / pixels
            if bins or entropy:
                if low == high:
                    # numpy.histogram makes room of 1 around a single value
                    told[6], told[7], told[8] = BINS // 2, pixels, 0.0
                    continue
                _fill_bins(band, top, left, rows_px, columns_px, np.float64(low), np.float64(high), index, counts)
                told[6], told[7] = _fullest(counts)
                if entropy:
                    told[8] = _entropy(counts, pixels)


@numba.njit(nogil=True, cache=True)
def count_classes(labels, tops, lefts, rows_px, columns_px, out):
    """Add up how many pixels of every window have each class.

    Parameters
    ----------
    labels
        (rows, columns) uint8.
    tops, lefts, rows_px, columns_px
        As in `measure_windows`.
    out
        (windows, classes) int64, added to.
    """
    number = 0
    for top in tops:
        for left in lefts:
            for row in range(top, top + rows_px):
                for column in range(left, left + columns_px):
                    out[number, labels[row, column]] += 1
            number += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def average_blocks(band, rows_px, columns_px, out):
    """Write the mean of every block of pixels; NaN where a pixel is not finite.

    Parameters
    ----------
    band
        (rows, columns).
    rows_px, columns_px
        Size of a block.
    out
        (blocks down, blocks across) float64.
    """
    rows_px, columns_px = np.uint64(rows_px), np.uint64(columns_px)
    for row in range(np.uint64(out.shape[0])):
        for column in range(np.uint64(out.shape[1])):
            mean = _total(band, row * rows_px, column * columns_px, rows_px, columns_px) / (rows_px * columns_px)
            out[row, column] = mean if math.isfinite(mean) else np.nan


@numba.njit(nogil=True, cache=True)
def count_between(ordered, edges, out):
    """Count the values between edges, as `numpy.histogram` does: the last bin holds its upper edge too.

    Parameters
    ----------
    ordered
        (windows, pixels) in ascending order.
    edges
        (windows, bins + 1).
    out
        (windows, bins) float64.
    """
    pixels, bins = ordered.shape[1], out.shape[1]
    for window in range(ordered.shape[0]):
        at = 0
        while at < pixels and ordered[window, at] < edges[window, 0]:
            at += 1
        for each in range(bins):
            start, end = at, edges[window, each + 1]
            while at < pixels and (ordered[window, at] < end or (each == bins - 1 and ordered[window, at] == end)):
                at += 1
            out[window, each] = at - start
