"""The statistic of two mean images: standard deviation of their difference over its uncertainty.

With mean m and standard error s of one layer of a slide, both divided by the weighted mean
``sum(m / s**2) / sum(1 / s**2)`` of that layer, the statistic of two slides is the standard deviation of
``d = (m1 - m2) / sqrt(s1**2 + s2**2)`` over the pixels where d is not 0. It is 1 when the images differ
by their noise alone. Source: AstroPath's meanimagecomparison.

Everything here works on blocks of pixels and adds up, so that cohorts larger than memory can be compared.
"""

from __future__ import annotations

import math

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, error_model="numpy")
def survey_block(mean, error, mask, weights, weighted, uncovered, stacked):
    """Add a block's pixels to the weighted mean of every layer.

    Parameters
    ----------
    mean, error
        (pixels, layers) float64: mean image and its standard error.
    mask
        (pixels, layers) uint64: images stacked.
    weights, weighted
        (layers,) running sums of ``1/s**2`` and of ``m/s**2``.
    uncovered
        (layers,) running number of pixels with no image stacked.
    stacked
        (layers,) running sum of ``mask``.
    """
    for pixel in range(mean.shape[0]):
        for layer in range(mean.shape[1]):
            images = mask[pixel, layer]
            weight = 1.0 / (error[pixel, layer] * error[pixel, layer])
            usable = images > 0 and weight < np.inf and abs(mean[pixel, layer]) < np.inf
            weights[layer] += weight if usable else 0.0
            weighted[layer] += weight * mean[pixel, layer] if usable else 0.0
            uncovered[layer] += 1.0 if images == 0 else 0.0
            stacked[layer] += images


@numba.njit(nogil=True, cache=True, error_model="numpy")
def normalise_block(mean, error, mask, norms, means_out, variances_out):
    """Write a block's normalised means and variances, layer by layer, and tell whether the fast root will do.

    Parameters
    ----------
    mean, error
        (pixels, layers) float64.
    mask
        (pixels, layers) uint64, or (0, 0) when every pixel is covered.
    norms
        (layers,) weighted means that mean and error are divided by.
    means_out, variances_out
        (layers, pixels) float64. A pixel left out has mean NaN and variance 1.

    Returns
    -------
    bool
        True when all variances other than 0 are between 1e-30 and 1e30, where single precision has room to
        spare for the fast inverse root.
    """
    has_mask = mask.shape[0] > 0
    pixels, layers = mean.shape
    inverse = 1.0 / norms
    odd, tile = 0, 16  # pixels computed along the layers, then turned round while still in the cache
    scaled, squared = np.empty((tile, layers)), np.empty((tile, layers))
    for start in range(0, pixels, tile):
        count = min(tile, pixels - start)
        for pixel in range(count):
            for layer in range(layers):
                m = mean[start + pixel, layer] * inverse[layer]
                s = error[start + pixel, layer] * inverse[layer]
                v = s * s
                usable = (abs(m) < np.inf) & (v < np.inf)
                if has_mask:
                    usable &= mask[start + pixel, layer] > 0
                v = v if usable else 1.0
                scaled[pixel, layer] = m if usable else np.nan
                squared[pixel, layer] = v
                odd += 1 if (v != 0.0) & ((v < 1e-30) | (v > 1e30)) else 0
        for layer in range(layers):
            for pixel in range(count):
                means_out[layer, start + pixel] = scaled[pixel, layer]
            for pixel in range(count):
                variances_out[layer, start + pixel] = squared[pixel, layer]
    return odd == 0


# inlined by force: code that is called is optimised otherwise where it was just compiled than where it was kept
@numba.njit(forceinline=True, fastmath={"arcp", "afn", "reassoc", "contract"}, error_model="numpy")
def _rough_inverse_root(variance):
    # single precision lets the compiler use the processor's estimate; one Newton step makes it good to 1e-14
    return np.float32(1) / math.sqrt(np.float32(variance))


@numba.njit(forceinline=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def _add_fast(mean_1, mean_2, variance_1, variance_2, shift):
    count, total, squares = 0.0, 0.0, 0.0
    for pixel in range(mean_1.shape[0]):
        variance = variance_1[pixel] + variance_2[pixel]
        root = np.float64(_rough_inverse_root(variance))
        root = root + root * (0.5 - 0.5 * (variance * root) * root)
        d = (mean_1[pixel] - mean_2[pixel]) * root
        counts = (d != 0.0) & (abs(d) < np.inf)
        shifted = d - shift if counts else 0.0
        count += 1.0 if counts else 0.0
        total += shifted
        squares += shifted * shifted
    return count, total, squares


@numba.njit(forceinline=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, error_model="numpy")
def _add_exact(mean_1, mean_2, variance_1, variance_2, shift):
    count, total, squares = 0.0, 0.0, 0.0
    for pixel in range(mean_1.shape[0]):
        d = (mean_1[pixel] - mean_2[pixel]) / math.sqrt(variance_1[pixel] + variance_2[pixel])
        counts = (d != 0.0) & (abs(d) < np.inf)
        shifted = d - shift if counts else 0.0
        count += 1.0 if counts else 0.0
        total += shifted
        squares += shifted * shifted
    return count, total, squares


@numba.njit(nogil=True, cache=True, error_model="numpy")
def add_pairs(means, variances, pairs, shift, sums, fast):
    """Add a block's pixels to count, sum and sum of squares of d for every pair and layer.

    Parameters
    ----------
    means, variances
        (slides, layers, pixels) from `normalise_block`.
    pairs
        (pairs, 2) indices of slides. Neighbours in the list should share slides, which stay in the cache.
    shift
        (pairs, layers): close to the mean of d, taken off before squaring so that nothing cancels.
    sums
        (pairs, 3, layers): count, sum and sum of squares of ``d - shift``, added to.
    fast
        What `normalise_block` said of all the slides.
    """
    pixels = means.shape[2]
    chunk = 2048
    for layer in range(means.shape[1]):
        for start in range(0, pixels, chunk):
            end = min(pixels, start + chunk)
            for pair in range(pairs.shape[0]):
                i, j = pairs[pair, 0], pairs[pair, 1]
                args = (
                    means[i, layer, start:end],
                    means[j, layer, start:end],
                    variances[i, layer, start:end],
                    variances[j, layer, start:end],
                    shift[pair, layer],
                )
                count, total, squares = _add_fast(*args) if fast else _add_exact(*args)
                sums[pair, 0, layer] += count
                sums[pair, 1, layer] += total
                sums[pair, 2, layer] += squares


def standard_deviations(sums: np.ndarray) -> np.ndarray:
    """Return the statistic from count, sum and sum of squares.

    Parameters
    ----------
    sums
        (pairs, 3, layers).

    Returns
    -------
    ndarray of float64
        (pairs, layers); NaN where no pixel was left.
    """
    count, total, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0)), np.nan)


def shift_of(sums: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return the mean of d of every pair and layer, (pairs, layers); 0 where no pixel counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(sums[:, 0] > 0, shift + sums[:, 1] / sums[:, 0], 0.0)


def delta_over_sigma(mean_1: np.ndarray, error_1: np.ndarray, mean_2: np.ndarray, error_2: np.ndarray) -> np.ndarray:
    """Return d for every pixel of one layer; NaN where it does not count.

    Parameters
    ----------
    mean_1, error_1, mean_2, error_2
        (rows, columns) normalised mean images and standard errors; NaN where a pixel is left out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        d = (mean_1 - mean_2) / np.sqrt(error_1**2 + error_2**2)
    return np.where(np.isfinite(d) & (d != 0), d, np.nan)
