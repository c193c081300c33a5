"""Clusters: those of the original, those that were drawn, and what must not matter."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, silhouette_score

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import _methods as methods
from analysis.texture import _stability as stability
from analysis.texture import cluster_patches, find_tile_set, measure_patches, measure_stability
from analysis.texture._silhouette import EXACT, measure_silhouette

OPTIONS = [
    {"method": "k-means"},
    {"method": "agglomerative", "linkage": "complete"},
    {"method": "agglomerative", "linkage": "average", "metric": "cosine"},
    {"method": "agglomerative", "linkage": "ward"},
    {"method": "gaussian mixture"},
    {"method": "hdbscan", "smallest": 5},
]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(1, 2), shape=(256, 320), border=True, seed=2)


@pytest.fixture(scope="module")
def patches(truth):
    return measure_patches(find_tile_set(truth.folder / "tiles"), grid=(12, 16), statistics="five_number")


def with_rows(patches, order):
    return replace(patches, table=patches.table.iloc[order].reset_index(drop=True))


def with_values(patches, values):
    """Patches with these numbers as their only statistics."""
    count, width = values.shape
    names = tuple(f"s{number}" for number in range(width))
    table = patches.table.iloc[np.arange(count) % len(patches)].reset_index(drop=True)
    table = table[["file", "name", "tile", "row", "column"]].assign(
        row_px=np.arange(count),
        column_px=0,
        rows_px=1,
        columns_px=1,
        left_out=False,
        why="",
        **dict(zip(names, values.T, strict=True)),
    )
    return replace(patches, table=table, statistics=names)


@pytest.mark.reference
@pytest.mark.parametrize("count", [4, 8, 10])
def test_equal_to_the_original(reference, count):
    folder = reference / "texture"
    tile_set = find_tile_set([folder / "syn_0.tif", folder / "syn_1.tif"])
    found = measure_patches(tile_set, grid=count, shading="none", mode="compatible", leave_out=(), statistics="common")
    table = pd.read_csv(folder / f"stats_{count}x{count}.csv")
    scores = pd.read_csv(folder / "scores.csv").query("grid == @count").set_index("run")
    runs = [name for name in table.columns if name.startswith(("kmeans_", "hier_"))]
    assert len(runs) == len(scores) == 24
    for run in runs:
        kind, clusters, scale, turned, *rest = run.split("_")
        components = (2 if rest else 6) if turned == "pca1" else None
        clusters = cluster_patches(
            found, clusters=int(clusters[1:]), method="k-means" if kind == "kmeans" else "agglomerative",
            scale=scale == "std1", components=components, n_init=20,
        )  # fmt: skip
        assert adjusted_rand_score(table[run], clusters.numbers) == 1, run
        assert clusters.silhouette == pytest.approx(scores.loc[run, "silhouette_transformed"], abs=1e-9), run
        raw = found.table[list(found.statistics)].to_numpy()
        assert measure_silhouette(raw, clusters.numbers - 1) == pytest.approx(
            scores.loc[run, "silhouette_raw"], abs=1e-9
        )


@pytest.mark.parametrize(
    ("statistics", "grid", "seed"), [("common", 32, 1), ("five_number", 16, None), ("five_number", 16, None)]
)
def test_classes_are_found_with_flat_field_and_not_without(tmp_path, statistics, grid, seed):
    # five numbers hold for any seed; the common six come as low as 0.898
    seed = int(np.random.default_rng().integers(1_000_000)) if seed is None else seed
    truth = draw_tile_set(tmp_path, seed=seed)
    tile_set = find_tile_set(tmp_path / "tiles")
    agreement = {}
    for shading in ("surface", "none"):
        measured = measure_patches(tile_set, grid=grid, statistics=statistics, shading=shading)
        classes, _ = truth.patch_classes(measured.grid.starts_y, measured.grid.starts_x, measured.grid.patch_size)
        agreement[shading] = adjusted_rand_score(classes, cluster_patches(measured).numbers)
    assert agreement["surface"] >= 0.9, seed
    assert agreement["none"] < 0.4, seed


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_any_order_and_any_run_gives_the_same(patches, options):
    first = cluster_patches(patches, **options)
    order = np.random.default_rng(0).permutation(len(patches))
    shuffled = cluster_patches(with_rows(patches, order), **options)
    assert np.array_equal(shuffled.numbers, first.numbers[order])
    assert shuffled.silhouette == first.silhouette
    assert first.count > 1
    assert np.array_equal(order[shuffled.representatives["patch"]], first.representatives["patch"])


def test_order_of_files(truth, patches):
    files = list(reversed(truth.files))
    again = measure_patches(find_tile_set(files), grid=(12, 16), statistics="five_number")
    assert cluster_patches(again).table.equals(cluster_patches(patches).table)


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.01, 5.0), (2.0, -700.0)])
def test_gain_and_offset_do_not_change_scaled_clusters(truth, tmp_path, gain, offset):
    names = ["std", "mean", "median", "skewness", "kurtosis", "interquartilerange"]
    for path in truth.files:
        pixels = tifffile.imread(path).astype(np.float64)
        tifffile.imwrite(tmp_path / path.name, pixels * gain + offset)
    options = {"grid": (12, 16), "statistics": names, "shading": "none", "leave_out": ()}
    before = measure_patches(find_tile_set(truth.folder / "tiles"), **options)
    after = measure_patches(find_tile_set(tmp_path), **options)
    for clusters in (2, 3, 5):
        one, other = (cluster_patches(each, clusters=clusters, components=4) for each in (before, after))
        assert np.array_equal(one.numbers, other.numbers)
        assert one.silhouette == pytest.approx(other.silhouette, abs=1e-7)


def test_left_out_patches_stay_in_the_table(patches):
    found = cluster_patches(patches)
    left_out = found.table["left_out"].to_numpy()
    assert left_out.any()
    assert (found.numbers[left_out] == -1).all()
    assert set(found.numbers[~left_out]) == {1, 2, 3}
    assert len(found.table) == len(patches)
    assert found.sizes["patches"].sum() == (~left_out).sum() == len(patches) - found.summary()["in_no_cluster"]


def test_numbers_are_sorted(patches):
    by_light = cluster_patches(patches, clusters=4).sizes
    assert by_light["median"].is_monotonic_increasing
    by_size = cluster_patches(patches, clusters=4, order_by="size").sizes
    assert by_size["patches"].is_monotonic_decreasing
    by_max = cluster_patches(patches, clusters=4, order_by="max").sizes
    assert by_max["max"].is_monotonic_increasing
    with pytest.raises(ValueError, match="order_by must be"):
        cluster_patches(patches, order_by="kurtosis")


def test_representatives_are_the_nearest(patches):
    found = cluster_patches(patches)
    values, rows = found.features.values, found.features.rows
    numbers = found.numbers[rows]
    for cluster, part in found.representatives.groupby("cluster"):
        centre = values[numbers == cluster].mean(axis=0)
        apart = np.linalg.norm(values - centre, axis=1)
        nearest = rows[numbers == cluster][apart[numbers == cluster].argmin()]
        assert part["patch"].iloc[0] == nearest
        assert (found.numbers[part["patch"]] == cluster).all()
        assert part["distance"].is_monotonic_increasing


def test_silhouette_of_many_is_sampled_and_says_so(patches):
    values, labels = make_blobs(EXACT + 2000, 3, centers=3, cluster_std=3, random_state=2)
    sampled = measure_silhouette(values, labels)
    assert sampled == measure_silhouette(values, labels)
    assert sampled == pytest.approx(silhouette_score(values, labels), abs=0.02)
    found = cluster_patches(with_values(patches, values))
    assert any("drawn by chance" in sentence for sentence in found.warnings)
    assert found.summary()["silhouette_of_patches"] == EXACT
    few = cluster_patches(with_values(patches, values[:EXACT]))
    assert not any("drawn by chance" in sentence for sentence in few.warnings)


def test_bic_asks_for_the_number_that_was_drawn(patches):
    values, _ = make_blobs(600, 3, centers=[[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9]], random_state=3)
    drawn = with_values(patches, values)
    for method in ("k-means", "gaussian mixture"):
        scores = {k: cluster_patches(drawn, clusters=k, method=method, scale=False).bic for k in range(2, 8)}
        assert min(scores, key=scores.get) == 4


def test_cosine_looks_at_directions_only(patches):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(60, 3)) * 0.1 + np.eye(3)[np.arange(60) % 3]
    longer = values * rng.uniform(1, 50, size=(60, 1))
    options = {"method": "agglomerative", "linkage": "average", "metric": "cosine", "scale": False, "order_by": "size"}
    one, other = (cluster_patches(with_values(patches, each), **options) for each in (values, longer))
    assert adjusted_rand_score(one.numbers, other.numbers) == 1
    assert one.silhouette == pytest.approx(other.silhouette)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_settings_give_the_same_again(patches, options):
    found = cluster_patches(patches, **options, components=3, statistics=["min", "median", "max"])
    assert cluster_patches(patches, **found.settings).table.equals(found.table)


def test_very_many_patches_start_from_some(patches, monkeypatch):
    values, labels = make_blobs(4000, 3, centers=4, random_state=4)
    monkeypatch.setattr(methods, "MANY", 2000)
    monkeypatch.setattr(methods, "START_SAMPLE", 500)
    drawn = with_values(patches, values)
    for method in ("k-means", "gaussian mixture"):
        found = cluster_patches(drawn, clusters=4, method=method, scale=False)
        shown = found.numbers[found.features.rows]
        assert adjusted_rand_score(labels[found.features.rows], shown) > 0.99


def test_stability_tells_asked_for_numbers_from_others(patches):
    values, _ = make_blobs(400, 2, centers=[[0, 0], [8, 0], [0, 8]], random_state=5)
    drawn = with_values(patches, values)
    right, wrong = (measure_stability(cluster_patches(drawn, clusters=k), draws=8) for k in (3, 7))
    assert right.score > 0.99
    assert wrong.score < 0.9
    assert list(right.table.columns) == ["draw", "agreement"]
    assert right.settings == {"draws": 8, "seed": 0}
    alone = measure_stability(cluster_patches(drawn, clusters=7), draws=8, workers=1)
    assert alone.table.equals(wrong.table)
    with pytest.raises(ValueError, match="draws must be"):
        measure_stability(cluster_patches(drawn), draws=0)


def test_draws_are_with_replacement(patches, monkeypatch):
    drawn = []

    def kept(part, *rest, **options):
        drawn.append(len(np.unique(part.rows)) / len(part))
        return real(part, *rest, **options)

    real = stability.part_features
    monkeypatch.setattr(stability, "part_features", kept)
    measure_stability(cluster_patches(patches), draws=3)
    assert all(0.5 < share < 0.75 for share in drawn)  # 1 - 1/e


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_stability_of_every_method(patches, options):
    assert 0 <= measure_stability(cluster_patches(patches, **options), draws=2).score <= 1


# ----------------------------------------------------------------------------------------------- bad input


def test_numbers_that_are_missing(patches):
    table = patches.table.copy()
    kept = np.flatnonzero(~table["left_out"])
    table.loc[kept[:7], "median"] = np.nan
    found = cluster_patches(replace(patches, table=table))
    assert (found.numbers[kept[:7]] == -1).all()
    assert "7 patches have no number for median" in found.warnings[0]
    with pytest.raises(ValueError, match=r"none of \d+ has one for max"):
        cluster_patches(replace(patches, table=table.assign(max=np.inf)))


def test_constant_images(tmp_path):
    for number in range(2):
        tifffile.imwrite(tmp_path / f"{number}.tif", np.full((64, 64), 7, np.uint8))
    tile_set = find_tile_set(tmp_path)
    with pytest.raises(ValueError, match=r"all 32 are left out \(blank 32\)"):
        cluster_patches(measure_patches(tile_set, grid=4, shading="none"))
    kept = measure_patches(tile_set, grid=4, shading="none", leave_out=())
    for options in ({}, {"method": "agglomerative"}, {"method": "gaussian mixture"}):
        with pytest.raises(ValueError, match="number of different patches, 1; got 3"):
            cluster_patches(kept, **options)
    with pytest.raises(ValueError, match="patches must differ to have components"):
        cluster_patches(kept, components=1)
    assert "tell nothing" in cluster_patches(kept, clusters=1).warnings[0]
    dense = cluster_patches(kept, method="hdbscan")
    assert dense.count <= 1
    assert np.isnan(dense.silhouette)


def test_one_patch(truth):
    one = measure_patches(find_tile_set(truth.files[:1]), grid=1, shading="none", statistics="common")
    for options in ({}, {"method": "agglomerative"}, {"method": "gaussian mixture"}):
        with pytest.raises(ValueError, match="number of patches that count, 1; got 3"):
            cluster_patches(one, **options)
    found = cluster_patches(one, clusters=1)
    assert list(found.numbers) == [1]
    assert np.isnan(found.silhouette)
    assert np.isnan(measure_stability(found, draws=1).score)
    with pytest.raises(ValueError, match="gaussian mixture must have at least two patches"):
        cluster_patches(one, clusters=1, method="gaussian mixture")
    with pytest.raises(ValueError, match="smallest must be at most"):
        cluster_patches(one, method="hdbscan", smallest=9)
    found = cluster_patches(one, method="hdbscan")
    assert found.count == 0
    assert "dense enough" in " ".join(found.warnings)


def test_hdbscan_without_clusters(patches):
    values = np.random.default_rng(0).uniform(size=(60, 3))
    found = cluster_patches(with_values(patches, values), method="hdbscan", smallest=50)
    assert found.count == 0
    assert "dense enough" in " ".join(found.warnings)
    assert found.summary()["sizes"] == []
    assert len(found.representatives) == 0


def test_statistics_that_say_the_same(patches):
    values = np.random.default_rng(0).normal(size=(60, 1))
    found = cluster_patches(with_values(patches, np.hstack([values, 2 * values, np.ones((60, 1))])))
    said = " ".join(found.warnings)
    assert "s0 and s1 (1.00)" in said
    assert "s2 have the same value" in said


def test_too_many_patches_to_join(patches, monkeypatch):
    monkeypatch.setattr(methods, "SLOW_JOINED", 100)
    found = cluster_patches(patches, method="agglomerative")
    assert "GB for distances" in " ".join(found.warnings)
    monkeypatch.setattr(methods, "MOST_JOINED", 100)
    with pytest.raises(ValueError, match="agglomerative must have at most 100 patches"):
        cluster_patches(patches, method="agglomerative")
    monkeypatch.setattr(methods, "MOST_DENSE", 100)
    with pytest.raises(ValueError, match="hdbscan must have at most 100 patches"):
        cluster_patches(patches, method="hdbscan")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clusters": 0}, "clusters must be a whole number"),
        ({"clusters": 2.5}, "clusters must be a whole number"),
        ({"method": "means"}, "method must be one of"),
        ({"method": "agglomerative", "linkage": "single"}, "linkage must be one of"),
        ({"method": "agglomerative", "linkage": "ward", "metric": "cosine"}, "linkage must be"),
        ({"metric": "cosine"}, "metric must be"),
        ({"components": 9}, "components must be from 1 to 5"),
        ({"components": 0}, "components must be"),
        ({"statistics": ["kurtosis"]}, "statistics must be one or more of those measured"),
        ({"statistics": []}, "statistics must be one or more"),
        ({"n_init": 0}, "n_init must be"),
        ({"seed": -1}, "seed must be from 0"),
        ({"method": "hdbscan", "smallest": 1}, "smallest must be"),
    ],
)
def test_options_are_checked(patches, options, words):
    with pytest.raises(ValueError, match=words):
        cluster_patches(patches, **options)
