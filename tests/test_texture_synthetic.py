"""Drawn tile sets: as they say, and such that the shading decides whether their classes are found."""

import numpy as np
import pytest
import tifffile
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from analysis.synthetic.texture import CLASSES, EXAMPLE_TILE_SET, draw_tile_set
from analysis.texture import find_tile_set, measure_patches


def test_files_and_truth(tmp_path):
    truth = draw_tile_set(tmp_path, tiles=(2, 3), shape=(100, 140), border=True, seed=5)
    tile_set = find_tile_set(tmp_path / "tiles")
    assert (tile_set.rows, tile_set.columns) == (2, 3)
    assert not tile_set.warnings
    for path, labels, classes in zip(truth.files, truth.labels, truth.label_images, strict=True):
        pixels = tifffile.imread(path)
        assert pixels.dtype == np.uint16
        assert pixels.shape == classes.shape == (100, 140)
        assert np.array_equal(tifffile.imread(labels), classes)
    flat = tifffile.imread(truth.files[0]) / truth.surface
    means = [flat[truth.label_images[0] == number].mean() for number in range(len(CLASSES))]
    assert means[1] > means[0] > means[2] > means[3]
    assert set(np.unique(truth.label_images[1])) == {0, 1, 2}
    assert truth.surface.mean() == pytest.approx(1)


def test_seeds(tmp_path):
    a, b, c = (
        draw_tile_set(tmp_path / n, tiles=(1, 1), shape=(64, 64), seed=s) for n, s in (("a", 1), ("b", 1), ("c", 2))
    )
    assert a.files[0].read_bytes() == b.files[0].read_bytes()
    assert not np.array_equal(a.label_images[0], c.label_images[0])


def test_classes_of_patches(tmp_path):
    truth = draw_tile_set(tmp_path, tiles=(1, 2), shape=(96, 128), seed=3)
    classes, shares = truth.patch_classes([0, 48], [0, 64], (48, 64))
    assert classes.shape == shares.shape == (8,)
    part = truth.label_images[1][48:96, 0:64]
    assert classes[6] == np.bincount(part.ravel()).argmax()
    assert shares[6] == (part == classes[6]).mean()


def test_the_example(tmp_path):
    truth = draw_tile_set(tmp_path, **EXAMPLE_TILE_SET)
    assert len(truth.files) == 6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shading_hides_the_classes_and_its_correction_shows_them(tmp_path, seed):
    truth = draw_tile_set(tmp_path, seed=seed)
    tile_set = find_tile_set(tmp_path / "tiles")
    agreement = {}
    for statistics, grid in (("common", (32, 32)), ("five_number", (16, 16))):
        for shading in ("surface", "none"):
            patches = measure_patches(tile_set, grid=grid, shading=shading, statistics=statistics)
            classes, _ = truth.patch_classes(patches.grid.starts_y, patches.grid.starts_x, patches.grid.patch_size)
            features = StandardScaler().fit_transform(patches.features)
            found = KMeans(3, n_init=5, random_state=0).fit_predict(features)
            agreement[statistics, shading] = adjusted_rand_score(classes[~patches.table["left_out"]], found)
    for statistics in ("common", "five_number"):
        assert agreement[statistics, "surface"] >= 0.9
        assert agreement[statistics, "none"] < 0.4


@pytest.mark.parametrize(
    ("options", "words"),
    [({"dtype": "int8"}, "dtype must be"), ({"shading": 1}, "shading must be"), ({"shape": (9, 99)}, "at least 64")],
)
def test_options_are_checked(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        draw_tile_set(tmp_path, **options)
