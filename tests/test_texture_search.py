"""Searches: every cell is the clustering that it says, and what a score cannot tell."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from analysis.synthetic.texture import draw_tile_set
from analysis.tasks import Cancelled
from analysis.texture import (
    SCORES,
    cluster_patches,
    find_tile_set,
    make_grid,
    measure_patches,
    measure_stability,
    search_settings,
)
from analysis.texture import _search as module


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(1, 2), shape=(192, 256), border=True, seed=1)


@pytest.fixture(scope="module")
def patches(truth):
    return measure_patches(find_tile_set(truth.folder / "tiles"), grid=8)


def test_each_cell_is_the_clustering_it_says(patches):
    found = search_settings(patches, grids=[(4, 6), 8], clusters=(2, 3), components=(None, 2), draws=3, n_init=10)
    assert len(found.table) == len(found.cells) == 8
    for grid in ((4, 6), (8, 8)):
        again = measure_patches(patches.tile_set, grid=grid)
        for clusters in (2, 3):
            for components in (None, 2):
                cell = found.find_cell(grid=grid, clusters=clusters, components=components or 0)
                alone = cluster_patches(again, clusters=clusters, components=components)
                assert cell.table.equals(alone.table)
                assert (cell.silhouette, cell.bic, cell.inertia) == (alone.silhouette, alone.bic, alone.inertia)
                row = found.table.query(
                    f"rows == {grid[0]} and columns == {grid[1]} and clusters == {clusters} and "
                    f"components == {components or 0}"
                ).iloc[0]
                assert (row["silhouette"], row["inertia"], row["bic"]) == (
                    alone.silhouette, alone.inertia, alone.bic,
                )  # fmt: skip
                assert row["stability"] == pytest.approx(measure_stability(alone, draws=3).score)
                assert row["patches"] == (cell.numbers > 0).sum()


def test_draws_with_too_few_different_patches_do_not_count(patches):
    few = measure_patches(patches.tile_set, grid=2)
    found = search_settings(few, clusters=[5, 6, 7], draws=6)
    alone = [measure_stability(cell, draws=6) for cell in found.cells]
    assert any(each.table["agreement"].isna().any() and np.isfinite(each.score) for each in alone)
    np.testing.assert_allclose(found.table["stability"], [each.score for each in alone], rtol=1e-12)


def test_searches_against_one_setting(patches):
    clusters = search_settings(patches, clusters=(2, 3, 4), draws=0)
    assert list(clusters.table["clusters"]) == [2, 3, 4]
    assert clusters.table["stability"].isna().all()
    assert clusters.table["inertia"].is_monotonic_decreasing
    components = search_settings(patches, clusters=[3], components=range(1, 7), draws=0)
    assert list(components.table["components"]) == [1, 2, 3, 4, 5, 6]
    slices = search_settings(patches, clusters=[3], grids=[2, 4, make_grid((192, 256), patch_size=(48, 32))], draws=0)
    assert slices.table[["rows", "columns"]].to_numpy().tolist() == [[2, 2], [4, 4], [4, 8]]
    pivot = search_settings(patches, clusters=(2, 3), grids=[4, 8], draws=0).pivot("silhouette")
    assert (list(pivot.index), list(pivot.columns)) == ([4, 8], [2, 3])
    with pytest.raises(ValueError, match="score must be"):
        clusters.pivot("area")


def test_workers_do_not_matter(patches):
    options = {"clusters": (2, 5), "grids": [3, 6], "draws": 2}
    one, many = (search_settings(patches, workers=workers, **options) for workers in (1, 4))
    assert one.table.equals(many.table)


def test_settings_give_the_same_again_and_warnings_stand_once(patches):
    found = search_settings(patches, grids=[4, 6, 8], clusters=(2, 3), components=(None, 2), draws=2, seed=5)
    assert search_settings(patches, **found.settings).table.equals(found.table)
    assert sum("counts twice" in sentence for sentence in found.warnings) <= 2


def test_each_grid_is_measured_once(patches, monkeypatch):
    measured = []

    def counted(*inputs, **options):
        measured.append(options["grid"])
        assert options["shading"] is patches.shading
        return real(*inputs, **options)

    real = module.measure_patches
    monkeypatch.setattr(module, "measure_patches", counted)
    search_settings(patches, grids=[3, 5], clusters=(2, 3, 4), components=(None, 1), draws=0)
    assert measured == [3, 5]


def test_noise_scores_higher_with_fewer_components(patches):
    # the reason for the warning in the words of the silhouette
    rng = np.random.default_rng(0)
    names = list(patches.statistics)
    table = patches.table.assign(**dict(zip(names, rng.normal(size=(6, len(patches))), strict=True)))
    noise = replace(patches, table=table)
    found = search_settings(noise, clusters=[3], components=(1, 2, 4, 6), draws=0)
    assert found.table["silhouette"].is_monotonic_decreasing
    assert "cannot be compared" in SCORES["silhouette"]
    assert "must not choose" in SCORES["silhouette"]


def test_cells_that_cannot_be_are_empty_with_a_reason(patches):
    found = search_settings(patches, grids=[1, 4, 1000], clusters=(2, 3), components=(None, 9), draws=0)
    table = found.table.set_index(["rows", "clusters", "components"])
    assert table.loc[(4, 2, 0), "error"] == ""
    assert "number of patches that count" in table.loc[(1, 3, 0), "error"]
    assert "components must be" in table.loc[(4, 2, 9), "error"]
    assert "as many rows and columns as the tile has pixels" in table.loc[(1000, 2, 0), "error"]
    assert np.isnan(table.loc[(1000, 2, 0), "silhouette"])
    assert "cells are empty" in found.warnings[-1]
    with pytest.raises(ValueError, match="the cell must hold clusters"):
        found.find_cell(grid=(4, 4), components=9)
    with pytest.raises(ValueError, match="one of the search"):
        found.find_cell(clusters=17)


@pytest.mark.parametrize("method", ["agglomerative", "gaussian mixture", "hdbscan"])
def test_other_methods(patches, method):
    found = search_settings(patches, clusters=(2, 3), method=method, draws=2)
    assert (found.table["error"] == "").all()
    assert found.table["found"].ge(1).all()


def test_progress_and_cancel(patches):
    told = []
    search_settings(patches, grids=[2, 4], clusters=(2, 3), draws=0, progress=lambda *step: told.append(step))
    assert [step[:2] for step in told] == [(number, 6) for number in range(1, 7)]
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        search_settings(
            patches, grids=[2, 4], clusters=(2, 3), draws=0, cancel=cancel,
            progress=lambda done, *_: cancel.set() if done == 3 else None,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clusters": 3}, "clusters must be a list"),
        ({"clusters": []}, "clusters must be a list"),
        ({"grids": 4}, "grids must be a list"),
        ({"components": []}, "components must be a list"),
        ({"draws": -1}, "draws must be"),
        ({"method": "means"}, "method must be"),
    ],
)
def test_options_are_checked(patches, options, words):
    with pytest.raises(ValueError, match=words):
        search_settings(patches, **options)
