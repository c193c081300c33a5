"""Corrections by hand: 20 labels and a forest, labels on disk, and similar patches."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from analysis.synthetic.texture import CLASSES, draw_tile_set
from analysis.texture import (
    cluster_patches,
    correct_labels,
    find_similar,
    find_tile_set,
    measure_patches,
    read_labels,
    save_labels,
)


def key_of(patches, row):
    entry = patches.table.iloc[row]
    return entry["name"], int(entry["row"]), int(entry["column"])


def draw(folder, seed, grid=16, statistics="common", **options):
    """Patches, the class of each, and 20 labels of patches that plainly show one class."""
    truth = draw_tile_set(folder, seed=seed, **options)
    patches = measure_patches(find_tile_set(truth.folder / "tiles"), grid=grid, statistics=statistics)
    classes, share = truth.patch_classes(patches.grid.starts_y, patches.grid.starts_x, patches.grid.patch_size)
    rng = np.random.default_rng(seed)
    rows = [
        row
        for number, count in ((0, 8), (1, 6), (2, 6))
        for row in rng.choice(np.flatnonzero((classes == number) & (share > 0.7)), count, replace=False)
    ]
    return patches, classes, {key_of(patches, row): CLASSES[classes[row]] for row in rows}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("set"), 2)


@pytest.mark.parametrize(("statistics", "grid"), [("common", 16), ("common", 32), ("five_number", 16)])
def test_twenty_labels_give_the_classes_where_three_clusters_may_not(tmp_path, statistics, grid):
    patches, classes, labels = draw(tmp_path, 2, grid, statistics)
    assert len(labels) == 20
    found = correct_labels(patches, labels)
    others = ~found.labelled
    names = np.array(CLASSES)[classes]
    score = f1_score(names[others], found.table["class"][others], average="macro")
    assert score > 0.9
    if (statistics, grid) == ("common", 16):
        # dark, medium and bright are crystal, film and hole
        clustered = np.array(["", "crystal", "film", "hole"])[cluster_patches(patches).numbers]
        assert f1_score(names[others], clustered[others], average="macro") < 0.8


def test_correction(drawn):
    patches, _, labels = drawn
    found = correct_labels(cluster_patches(patches), labels)
    assert found.classes == ("crystal", "film", "hole")
    table = found.table
    for key, name in labels.items():
        row = table[(table["name"] == key[0]) & (table["row"] == key[1]) & (table["column"] == key[2])].iloc[0]
        assert (row["class"], row["sureness"], row["labelled"]) == (name, 1, True)
    assert table["sureness"].between(1 / 3, 1).all()
    assert table["labelled"].sum() == 20
    assert found.importance["importance"].sum() == pytest.approx(1)
    assert found.summary()["labelled"] == {"crystal": 6, "film": 8, "hole": 6}
    backwards = correct_labels(patches, dict(reversed(labels.items())))
    assert backwards.table.equals(table)


def test_what_was_given_by_hand_stays(drawn):
    patches, _, labels = drawn
    # one of the holes is called film against all likelihood
    odd = next(key for key, name in labels.items() if name == "hole")
    found = correct_labels(patches, {**labels, odd: "film"}, trees=5, seed=1)
    everything = {key_of(patches, row): "film" for row in range(len(patches) // 2)}
    everything |= {key_of(patches, row): "hole" for row in range(len(patches) // 2, len(patches))}
    assert list(correct_labels(patches, everything, trees=3).table["class"]) == list(everything.values())
    row = found.table[(found.table["name"] == odd[0]) & (found.table["row"] == odd[1])]
    assert row[row["column"] == odd[2]]["class"].item() == "film"


def test_unsure_patches_are_the_wrong_ones(drawn):
    patches, classes, labels = drawn
    found = correct_labels(patches, labels)
    right = found.table["class"].to_numpy() == np.array(CLASSES)[classes]
    assert found.sureness[right].mean() > found.sureness[~right].mean() + 0.1


def test_left_out_patches_have_no_class(tmp_path):
    patches, _, labels = draw(tmp_path, 5, border=True)
    found = correct_labels(patches, labels)
    left_out = patches.table["left_out"].to_numpy()
    assert left_out.any()
    assert (found.table["class"][left_out] == "").all()
    assert np.isnan(found.sureness[left_out]).all()
    row = int(np.flatnonzero(left_out)[0])
    with pytest.raises(ValueError, match=r"labels must be of patches that count; .*\(dark\)"):
        correct_labels(patches, {**labels, key_of(patches, row): "film"})
    with pytest.raises(ValueError, match="patch must be one that counts"):
        find_similar(patches, row)


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_labels_on_disk(drawn, tmp_path, ending):
    patches, _, labels = drawn
    labels = {**labels, next(iter(labels)): 'odd, "name" <b>ü'}
    path = save_labels(labels, tmp_path / f"labels.{ending}", patches=patches)
    assert read_labels(path) == labels
    assert read_labels(path, patches=cluster_patches(patches)) == labels
    other = measure_patches(patches.tile_set, grid=17)
    with pytest.raises(ValueError, match="labels of this grid"):
        read_labels(path, patches=other)
    coarse = measure_patches(patches.tile_set, grid=2)
    with pytest.raises(ValueError, match="must be of patches that were measured"):
        read_labels(path, patches=coarse)


def test_tiles_of_one_name(drawn, tmp_path):
    patches, _, labels = drawn
    for number in range(2):
        draw_tile_set(tmp_path / str(number), tiles=(1, 1), shape=(64, 64), seed=number)
    tile_set = find_tile_set([tmp_path / "0" / "tiles", tmp_path / "1" / "tiles"])
    patches = measure_patches(tile_set, grid=4, shading="none")
    name = patches.table["name"][0]
    with pytest.raises(ValueError, match="2 tiles have that name"):
        correct_labels(patches, {(name, 0, 0): "film", (name, 1, 1): "hole"})
    labels = {(file, 0, number): f"class {number}" for number, file in enumerate(patches.table["file"].unique())}
    path = save_labels(labels, tmp_path / "labels.csv", patches=patches)
    assert read_labels(path, patches=patches) == labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,row,column\n", "class not found"),
        ("file,row,column,class\na.tif,one,2,film\n", "must be a number"),
        ("file,row,column,class\na.tif,1.5,2,film\n", "must have whole numbers in column row; got 1.5"),
        ("file;row;column;class\na.tif;1;2;film\n", "must have commas between its values"),
        ("file,row,column,class\na.tif,1,2,film\na.tif,1,2,hole\n", "is there twice"),
    ],
)
def test_damaged_tables(tmp_path, text, words):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_labels(path)


def test_labels_that_a_spreadsheet_wrote(drawn, tmp_path):
    patches, _, labels = drawn
    path = save_labels(labels, tmp_path / "labels.csv", patches=patches)
    table = pd.read_csv(path)
    places = ["row", "column", "row_px", "column_px", "rows_px", "columns_px"]
    table = table.astype(dict.fromkeys(places, float))
    table["class"] += " "
    table.to_csv(path, index=False, encoding="utf-8-sig")
    assert "3.0" in path.read_text(encoding="utf-8-sig") or "0.0" in path.read_text(encoding="utf-8-sig")
    assert read_labels(path, patches=patches) == labels


@pytest.mark.parametrize(
    "found",
    ["", "[", "[]", '{"labels": 3}', '{"labels": [{"file": "a"}]}', "9" * 5000,
     json.dumps({"labels": [{"file": "a", "row": "1", "column": 2, "class": "b"}]})],
)  # fmt: skip
def test_damaged_json(tmp_path, found):
    path = tmp_path / "labels.json"
    path.write_text(found)
    with pytest.raises(ValueError, match=r"labels\.json must"):
        read_labels(path)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "labels must name 2"),
        ({("Tile_001-001.tif", 0, 0): "film"}, "labels must name 2"),
        ({("nowhere.tif", 0, 0): "film"}, "must be of patches that were measured"),
        ({("Tile_001-001.tif", 99, 0): "film"}, "must be of patches that were measured"),
        ({("Tile_001-001.tif", 0): "film"}, "must be named by"),
        ({("Tile_001-001.tif", 0, 0): " "}, "classes must be words"),
        ({("Tile_001-001.tif", 0, 0): "a\nb"}, "classes must be words"),
        ({("Tile_001-001.tif", 0, 0): 3}, "classes must be words"),
    ],
)
def test_labels_are_checked(drawn, labels, words):
    with pytest.raises(ValueError, match=words):
        correct_labels(drawn[0], labels)


def test_files_are_checked(drawn, tmp_path):
    with pytest.raises(ValueError, match="path must end with"):
        save_labels({}, tmp_path / "labels.txt", patches=drawn[0])
    with pytest.raises(ValueError, match="path must end with"):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(ValueError, match="trees must be"):
        correct_labels(*drawn[::2], trees=0)


def test_similar_patches(drawn):
    patches, classes, labels = drawn
    for key, name in labels.items():
        found = find_similar(patches, key, count=5)
        assert len(found) == 5
        assert found["similarity"].is_monotonic_decreasing
        if name != "film":  # film is near the mean of all, where directions tell little
            alike = np.array(CLASSES)[classes[found["patch"]]]
            assert (alike == name).mean() >= 0.6
    row = int(found["patch"][0])
    assert find_similar(patches, row).equals(find_similar(patches, key_of(patches, row)))
    assert row not in set(find_similar(patches, row, count=10_000)["patch"])
    values = patches.features
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    cosine = values @ values[row] / np.linalg.norm(values, axis=1) / np.linalg.norm(values[row])
    best = find_similar(patches, row, count=1).iloc[0]
    assert best["similarity"] == pytest.approx(np.sort(cosine)[-2])


@pytest.mark.parametrize(
    ("patch", "options", "words"),
    [(-1, {}, "patch must be a row"), (10**6, {}, "patch must be a row"), (0, {"count": 0}, "count must be")],
)
def test_what_is_similar_is_checked(drawn, patch, options, words):
    with pytest.raises(ValueError, match=words):
        find_similar(drawn[0], patch, **options)
