"""What leaves the instrument, read back by others' readers; names that may not lead elsewhere."""

import io
import json
import shutil
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from analysis.synthetic.texture import draw_tile_set
from analysis.texture import (
    COLOURS,
    cluster_patches,
    correct_labels,
    find_tile_set,
    make_label_image,
    measure_patches,
    write_geojson,
    write_heat_map,
    write_label_images,
    write_outputs,
    write_patches,
    write_rois,
)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return draw_tile_set(tmp_path_factory.mktemp("set"), tiles=(1, 2), shape=(100, 140), border=True, seed=1)


@pytest.fixture(scope="module")
def clusters(truth):
    return cluster_patches(measure_patches(find_tile_set(truth.folder / "tiles"), grid=(6, 8)))


@pytest.fixture(scope="module")
def correction(clusters):
    table = clusters.table
    rows = [clusters.representatives.query("cluster == @n")["patch"].iloc[i] for n in (2, 3) for i in range(3)]
    names = {2: "crystal, <b>dark</b>", 3: "hole"}
    labels = {
        (table["name"][row], int(table["row"][row]), int(table["column"][row])): names[table["cluster"][row]]
        for row in rows
    }
    return correct_labels(clusters, labels)


def test_table(clusters, correction, tmp_path):
    found = pd.read_csv(write_patches(clusters, tmp_path / "patches.csv"))
    assert np.array_equal(found["cluster"], clusters.numbers)
    assert np.array_equal(found["mean"], clusters.table["mean"])
    assert len(found) == len(clusters.table)
    assert {"file", "row", "column", "left_out", "why"} <= set(found.columns)
    found = pd.read_csv(write_patches(correction, tmp_path / "classes.csv"), keep_default_na=False)
    assert list(found["class"]) == list(correction.table["class"])
    assert found.columns[-3:].tolist() == ["class", "sureness", "labelled"]


def test_label_images(truth, clusters, tmp_path):
    paths = write_label_images(clusters, tmp_path / "new" / "labels")
    assert [path.name for path in paths] == ["Tile_001-001_labels.tif", "Tile_001-002_labels.tif"]
    for number, path in enumerate(paths):
        image = tifffile.imread(path)
        assert (image.shape, image.dtype) == ((100, 140), np.uint8)
        expected = np.zeros((100, 140), np.uint8)
        for entry in clusters.table.query("tile == @number").to_dict("records"):
            expected[
                entry["row_px"] : entry["row_px"] + entry["rows_px"],
                entry["column_px"] : entry["column_px"] + entry["columns_px"],
            ] = max(entry["cluster"], 0)
        assert np.array_equal(image, expected)
        assert np.array_equal(make_label_image(clusters, number), expected)
        assert (image[96:] == 0).all() and (image[:, 136:] == 0).all(), "what no patch covers"
    legend = pd.read_csv(tmp_path / "new" / "labels" / "labels.csv")
    assert legend["name"].tolist() == ["cluster 1", "cluster 2", "cluster 3"]
    assert legend["colour"].tolist() == list(COLOURS[:3])
    with pytest.raises(ValueError, match="tile must be one that was measured"):
        make_label_image(clusters, 2)


@pytest.mark.parametrize("step", [8, 5, 20])
def test_label_images_of_windows(truth, step):
    patches = measure_patches(find_tile_set(truth.folder / "tiles"), patch_size=(16, 12), step=step, leave_out=())
    found = cluster_patches(patches)
    image = make_label_image(found, 1)
    part = found.table.query("tile == 1")
    middles = part[["row_px", "column_px"]].to_numpy() + (np.array([16, 12]) - 1) / 2
    for y, x in np.random.default_rng(0).integers((100, 140), size=(300, 2)):
        covers = (
            (part["row_px"] <= y) & (y < part["row_px"] + 16) & (part["column_px"] <= x) & (x < part["column_px"] + 12)
        ).to_numpy()
        if not covers.any():
            assert image[y, x] == 0
            continue
        apart = np.abs(middles - [y, x]).sum(axis=1)
        near = covers & (apart <= apart[covers].min())
        assert image[y, x] in set(part["cluster"][near])


def test_geojson(clusters, correction, tmp_path):
    for result, column in ((clusters, "cluster"), (correction, "class")):
        paths = write_geojson(result, tmp_path / column)
        for number, path in enumerate(paths):
            found = json.loads(path.read_text())
            part = result.table[(result.table["tile"] == number) & ~result.table["left_out"]]
            assert found["type"] == "FeatureCollection"
            assert len(found["features"]) == len(part)
            assert len({feature["id"] for feature in found["features"]}) == len(part)
            for feature, entry in zip(found["features"], part.to_dict("records"), strict=True):
                ring = np.array(feature["geometry"]["coordinates"][0])
                assert np.array_equal(ring[0], ring[-1])
                assert ring.min(axis=0).tolist() == [entry["column_px"], entry["row_px"]]
                assert np.ptp(ring, axis=0).tolist() == [entry["columns_px"], entry["rows_px"]]
                told = feature["properties"]
                assert told["objectType"] == "annotation"
                expected = f"cluster {entry['cluster']}" if column == "cluster" else entry["class"]
                assert told["classification"]["name"] == expected
                assert len(told["classification"]["color"]) == 3
    detections = json.loads(write_geojson(correction, tmp_path / "d", kind="detection")[0].read_text())
    measured = detections["features"][0]["properties"]["measurements"]
    assert set(measured) == {*correction.patches.statistics, "sureness"}
    with pytest.raises(ValueError, match="kind must be"):
        write_geojson(clusters, tmp_path, kind="cell")


def test_rois(clusters, correction, tmp_path):
    roifile = pytest.importorskip("roifile", reason="roifile is not installed")
    for result in (clusters, correction):
        path = write_rois(result, tmp_path)[1]
        outlines = roifile.roiread(path)
        part = result.table[(result.table["tile"] == 1) & ~result.table["left_out"]]
        assert len(outlines) == len(part)
        for outline, entry in zip(outlines, part.to_dict("records"), strict=True):
            assert (outline.top, outline.left) == (entry["row_px"], entry["column_px"])
            assert outline.bottom - outline.top == entry["rows_px"]
            assert outline.right - outline.left == entry["columns_px"]
            assert outline.roitype == roifile.ROI_TYPE.RECT
        before = path.read_bytes()
        assert write_rois(result, tmp_path)[1].read_bytes() == before
    with zipfile.ZipFile(io.BytesIO(before)) as archive:
        assert not [name for name in archive.namelist() if "/" in name or "\\" in name]


def test_rois_without_the_package(clusters, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(ImportError, match="roifile must be installed"):
        write_rois(clusters, tmp_path)


def test_heat_map(truth, clusters, tmp_path):
    path = write_heat_map(clusters, tmp_path / "map.png", opacity=1)
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 280 and pixels.shape[0] > 100
    labels = np.hstack([make_label_image(clusters, number) for number in range(2)])
    for number, text in enumerate(COLOURS[:3], start=1):
        colour = [int(text[at : at + 2], 16) for at in (1, 3, 5)]
        assert (pixels[:100][labels == number] == colour).all()
    grey = pixels[:100][labels == 0]
    assert (grey == grey[:, :1]).all()
    bare = np.asarray(Image.open(write_heat_map(clusters, tmp_path / "bare.png", opacity=0)).convert("RGB"))[:100]
    mosaic = np.hstack([tifffile.imread(file) for file in truth.files]).astype(float)
    assert np.corrcoef(bare[:, :, 0].ravel(), mosaic.ravel())[0, 1] > 0.98


def test_heat_map_of_a_statistic(clusters, correction, tmp_path):
    for number, result in enumerate((clusters, correction, clusters.patches)):
        path = write_heat_map(result, tmp_path / f"{number}.png", statistic="std", longest_px=70)
        with Image.open(path) as picture:
            assert picture.size[0] == 200  # the legend needs more than the 70 px of the set
    assert (tmp_path / "0.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_heat_map_of_a_tile_that_was_not_measured(truth, tmp_path):
    shutil.copytree(truth.folder / "tiles", tmp_path / "tiles")
    tifffile.imwrite(tmp_path / "tiles" / "Tile_001-003.tif", np.full((50, 50), 9, np.uint16))
    found = cluster_patches(measure_patches(find_tile_set(tmp_path / "tiles"), grid=4))
    assert len(found.patches.problems) == 1
    with Image.open(write_heat_map(found, tmp_path / "map.png")) as picture:
        assert np.asarray(picture.convert("L"))[:100, 280:].max() == 0
    assert len(write_label_images(found, tmp_path / "labels")) == 2


def test_a_tile_that_is_gone_is_said(truth, tmp_path):
    shutil.copytree(truth.folder / "tiles", tmp_path / "tiles")
    found = cluster_patches(measure_patches(find_tile_set(tmp_path / "tiles"), grid=4))
    gone = tmp_path / "tiles" / truth.files[0].name
    gone.unlink()
    outputs = write_outputs(found, tmp_path / "out", formats=["heat_map", "csv"])
    assert list(outputs.problems["file"]) == [str(gone)]
    assert set(outputs.table["format"]) == {"csv", "heat_map"}


def test_nothing_is_written_over_or_beside_the_tiles(truth, clusters, tmp_path):
    before = {path: path.read_bytes() for path in truth.files}
    for write in (write_label_images, write_geojson):
        with pytest.raises(ValueError, match="folder must not be that of the tiles"):
            write(clusters, truth.folder / "labels" / ".." / "tiles")
    (tmp_path / "link.csv").symlink_to(truth.files[0])
    with pytest.raises(ValueError, match="must not be one of the tiles"):
        write_patches(clusters, tmp_path / "link.csv")
    (tmp_path / "link.png").symlink_to(truth.files[0])
    with pytest.raises(ValueError, match="must not be one of the tiles"):
        write_heat_map(clusters, tmp_path / "link.png")
    assert {path: path.read_bytes() for path in truth.files} == before


def test_odd_names_stay_in_the_folder(truth, tmp_path):
    names = ["a\\..\\up.tif", "con.tif", "a b;$(x)'\".tif", "ü_1.tif", "same.tif", "same.tiff"]
    names += ["x" * 200 + ".tif", "漢" * 80 + ".tif"]
    (tmp_path / "tiles").mkdir()
    for name in names:
        shutil.copy(truth.files[0], tmp_path / "tiles" / name)
    found = cluster_patches(measure_patches(find_tile_set(tmp_path / "tiles"), grid=4, shading="none"))
    out = tmp_path / "out"
    paths = [path for write in (write_label_images, write_geojson) for path in write(found, out)]
    assert len(set(paths)) == 2 * len(names)
    assert all(path.parent == out and path.is_file() for path in paths)
    assert not any(set(path.name) & set("\\;$'\"") for path in paths)
    assert "_con_labels.tif" in [path.name for path in paths]
    assert {path.name for path in tmp_path.iterdir()} == {"tiles", "out"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": "map.jpg"}, "path must end with"),
        ({"opacity": 1.5}, "opacity must be"),
        ({"longest_px": 3}, "longest_px must be"),
        ({"statistic": "lbp_1"}, "statistic must be one of"),
    ],
)
def test_heat_maps_are_checked(clusters, tmp_path, options, words):
    options = {"path": "map.png", **options}
    with pytest.raises(ValueError, match=words):
        write_heat_map(clusters, tmp_path / options.pop("path"), **options)
