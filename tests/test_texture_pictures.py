"""Pictures of tile sets and patches, places in a plane, and everything written at once."""

import importlib.util

import numpy as np
import pytest
import tifffile

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import (
    cluster_patches,
    cut_patches,
    embed_patches,
    find_tile_set,
    make_grid,
    measure_patches,
    read_mosaic,
    write_outputs,
)

STEPS = [1, 2, 3, 7]


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(2, 3), shape=(96, 130))


@pytest.fixture(scope="module")
def patches(truth):
    return measure_patches(find_tile_set(truth.folder / "tiles"), grid=(4, 5), statistics=("mean", "std", "skewness"))


@pytest.mark.parametrize("step", STEPS)
def test_pixels_of_a_mosaic_are_means_of_squares(truth, step):
    tile_set = find_tile_set(truth.folder / "tiles")
    longest = 390 if step == 1 else -(-390 // step)
    mosaic = read_mosaic(tile_set, longest_px=longest)
    assert mosaic.step == step
    assert max(mosaic.pixels.shape) <= longest + 3
    first = tifffile.imread(truth.files[0]).astype(float)
    wanted = [[first[y : y + step, x : x + step].mean() for x in range(0, 130, step)] for y in range(0, 96, step)]
    shown = mosaic.pixels[: len(wanted), : len(wanted[0])].astype(float)
    inside = (shown > 0) & (shown < 255)
    line = np.polyfit(np.array(wanted)[inside], shown[inside], 1)
    assert np.abs(np.polyval(line, np.array(wanted)) - shown)[inside].max() < 1


@pytest.mark.parametrize("step", STEPS)
def test_patches_lie_where_their_pixels_are(patches, step):
    mosaic = read_mosaic(patches.tile_set, longest_px=390 if step == 1 else -(-390 // step))
    numbers, places = mosaic.number_pixels(patches), mosaic.place_patches(patches)
    assert set(np.unique(numbers)) == {*range(len(patches))} | ({-1} if (numbers < 0).any() else set())
    for row in (0, 19, 47, len(patches) - 1):
        y, x = np.nonzero(numbers == row)
        # a pixel of the picture belongs to the patch that its middle lies in
        assert places["left"][row] - step <= x.min() * step <= places["left"][row] + step
        assert places["right"][row] - step <= (x.max() + 1) * step <= places["right"][row] + step
        assert places["top"][row] - step <= y.min() * step <= places["top"][row] + step
        assert places["bottom"][row] - step <= (y.max() + 1) * step <= places["bottom"][row] + step
    rows, columns = mosaic.shape_px
    assert places["right"].max() <= columns and places["bottom"].max() <= rows


def test_shading_is_taken_off_the_mosaic(patches):
    dull = read_mosaic(patches.tile_set).pixels[:96, :130]
    even = read_mosaic(patches.tile_set, shading=patches.shading).pixels[:96, :130]
    fall = [np.median(image[:, :40]) / np.median(image[:, -40:]) for image in (dull, even)]
    assert abs(fall[0] - 1) > 0.25 > 0.2 > abs(fall[1] - 1)


def test_tiles_that_cannot_be_read_are_problems(tmp_path):
    truth = draw_tile_set(tmp_path, tiles=(1, 2), shape=(64, 64))
    tile_set = find_tile_set(truth.folder / "tiles")
    truth.files[1].unlink()
    mosaic = read_mosaic(tile_set)
    assert [name.endswith("Tile_001-002.tif") for name in mosaic.problems["file"]] == [True]
    assert not mosaic.pixels[:, 64:].any() and mosaic.pixels[:, :64].any()
    with pytest.raises(ValueError, match="longest_px must be"):
        read_mosaic(tile_set, longest_px=0)


def test_patches_are_cut_in_the_order_asked_for(patches, truth):
    cut = cut_patches(patches, [7, 0, 7], shading=False)
    place = patches.table.iloc[7]
    tile = tifffile.imread(truth.files[0])
    wanted = tile[place["row_px"] :, place["column_px"] :][: place["rows_px"], : place["columns_px"]].astype(float)
    assert (cut[0] == cut[2]).all() and cut[0].shape == wanted.shape
    inside = (cut[0] > 0) & (cut[0] < 255)
    line = np.polyfit(wanted[inside], cut[0][inside], 1)
    assert np.abs(np.polyval(line, wanted[inside]) - cut[0][inside]).max() < 1
    assert cut_patches(patches, [3], longest_px=10)[0].shape == (8, 9)
    assert cut_patches(patches, []) == []
    with pytest.raises(ValueError, match="rows must be of the table, 0 to 119; got 120"):
        cut_patches(patches, [120])


def test_components_are_those_of_the_clusters(patches):
    found = embed_patches(patches)
    clusters = cluster_patches(patches, components=2)
    assert (found.table["patch"].to_numpy() == clusters.features.rows).all()
    assert np.allclose(found.table[list(found.names)], clusters.features.values)
    assert found.explained == clusters.features.explained
    assert found.summary()["patches"] == len(patches)


def test_umap_needs_its_package(patches, monkeypatch):
    monkeypatch.setattr("analysis.texture._embedding.HAVE_UMAP", False)
    with pytest.raises(ImportError, match="umap-learn must be installed"):
        embed_patches(patches, method="umap")
    with pytest.raises(ValueError, match="method must be components or umap"):
        embed_patches(patches, method="tsne")


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # of umap itself, which has no need of it
def test_umap_keeps_clusters_together(patches):
    clusters = cluster_patches(patches, clusters=2)
    found = embed_patches(clusters, method="umap")
    numbers = clusters.numbers[found.table["patch"]]
    values = found.table[list(found.names)].to_numpy()
    apart = np.linalg.norm(values[:, None] - values[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (numbers[apart.argmin(axis=1)] == numbers).mean() > 0.9


def test_everything_is_written_and_listed(patches, tmp_path):
    found = write_outputs(cluster_patches(patches), tmp_path / "out")
    assert found.summary() == {"files": {"csv": 1, "labels": 7, "geojson": 6, "heat_map": 4}, "problems": 0}
    written = {str(path) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert written == set(found.table["file"])


def test_a_format_that_fails_does_not_stop_the_others(patches, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "labels").write_text("a file where a folder must be")
    found = write_outputs(cluster_patches(patches), tmp_path / "out", formats=["labels", "csv"])
    assert list(found.table["format"]) == ["csv"] and list(found.problems["file"]) == ["labels"]
    with pytest.raises(ValueError, match=r"formats must be a list of csv, .*; got \['tif'\]"):
        write_outputs(cluster_patches(patches), tmp_path / "out", formats=["tif"])
    with pytest.raises(ValueError, match="folder must not be that of the tiles"):
        write_outputs(cluster_patches(patches), patches.tile_set.infos[0].path.parent, formats=["csv"])


def test_patches_of_a_window_are_found_in_the_picture(truth):
    tile_set = find_tile_set(truth.folder / "tiles")
    patches = measure_patches(tile_set, grid=make_grid((96, 130), patch_size=(32, 40), step=(16, 20)))
    mosaic = read_mosaic(tile_set)
    numbers = mosaic.number_pixels(patches)
    assert len(np.unique(numbers[numbers >= 0])) == len(patches)
