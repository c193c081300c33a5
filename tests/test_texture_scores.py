"""Scores of a partition against others' formulas."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_score

from analysis.texture._silhouette import measure_bic, measure_silhouette


def test_silhouette():
    values, labels = make_blobs(300, 4, centers=3, cluster_std=4, random_state=1)
    for cosine, metric in ((False, "euclidean"), (True, "cosine")):
        assert measure_silhouette(values, labels, cosine=cosine) == pytest.approx(
            silhouette_score(values, labels, metric=metric), abs=1e-12
        )
    none = np.where(np.arange(300) < 50, -1, labels)
    assert measure_silhouette(values, none) == pytest.approx(silhouette_score(values[50:], labels[50:]), abs=1e-12)
    assert np.isnan(measure_silhouette(values, np.zeros(300, int)))


def test_bic_by_the_density_of_gaussians():
    values, labels = make_blobs(120, 3, centers=4, random_state=6)
    centres = np.stack([values[labels == number].mean(axis=0) for number in range(4)])
    inertia = ((values - centres[labels]) ** 2).sum()
    width = np.sqrt(inertia / values.size)
    density = norm.logpdf(values, centres[labels], width).sum() + np.log(np.bincount(labels)[labels] / 120).sum()
    # 4 means of 3 numbers, 3 shares that are free, 1 width
    assert measure_bic(inertia, np.bincount(labels), 3) == pytest.approx(-2 * density + 16 * np.log(120))
    assert np.isnan(measure_bic(0.0, np.array([3, 3]), 2))
