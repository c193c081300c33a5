"""Mean images made from fields equal the plain formula, carry the illumination, and are found as slides."""

import json
import multiprocessing
import shutil
import threading

import numpy as np
import pandas as pd
import pytest

from analysis.flatfield import _fields, compare_mean_images, find_slides
from analysis.flatfield._fields import find_fields, find_thresholds, stack_fields
from analysis.flatfield._meanimage import make_mean_image
from analysis.images import write_image
from analysis.synthetic.flatfield import draw_fields
from analysis.tasks import Cancelled


def draw_blocks(folder, *, fields=6, shape=(12, 16, 2), seed=0, background=20):
    """Fields of noisy tissue with a block of background; returns the pixels."""
    rng = np.random.default_rng(seed)
    drawn = []
    for number in range(fields):
        pixels = rng.integers(900, 1100, shape).astype(np.uint16)
        start = rng.integers(0, shape[1] // 2)
        pixels[:5, start : start + 6] = background
        write_image(folder / f"f{number}.tif", pixels)
        drawn.append(pixels)
    return np.array(drawn, dtype=float)


def make_from_another_process(arguments):
    folder, name, root = arguments
    make_mean_image(folder, slide_id=name, root_dir=root, workers=1)


def test_sums_are_the_formula(tmp_path):
    pixels = draw_blocks(tmp_path / "in")
    made = make_mean_image(
        tmp_path / "in", slide_id="S", root_dir=tmp_path / "root", background_threshold=0, exposure_time_ms=[2, 5]
    )
    values = pixels / [2, 5]
    np.testing.assert_allclose(made.mean, values.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(made.standard_error, values.std(axis=0) / np.sqrt(6), rtol=1e-9)
    np.testing.assert_allclose(made.sum_images_squared, (values**2).sum(axis=0), rtol=1e-12)
    assert (made.mask_stack == 6).all()
    assert made.mask_stack.dtype == np.uint64


def test_background_is_not_stacked(tmp_path):
    pixels = draw_blocks(tmp_path / "in", fields=20, shape=(60, 80, 3))
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root", background_threshold=300)
    assert (made.mean > 900).all()
    covered = (pixels[..., 0] > 500).sum(axis=0)
    assert (made.mask_stack[..., 0] <= covered).all()
    assert (made.mask_stack[30:] == 20).all()
    assert made.mask_stack[..., 0].sum() > 0.97 * covered.sum()
    assert (made.mask_stack[..., 0] == made.mask_stack[..., 2]).all()


def test_pixels_no_field_covers_are_zero(tmp_path):
    pixels = np.full((20, 24, 2), 1000, np.uint16)
    pixels[:8, :8] = 10
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.tif", pixels)
    made = make_mean_image(
        tmp_path / "in", slide_id="S", root_dir=tmp_path / "root", background_threshold=300, min_tissue=0.5
    )
    assert (made.mask_stack[:8, :8] == 0).all()
    assert (made.mean[:8, :8] == 0).all()
    assert (made.standard_error == 0).all()
    assert (made.mean[12:, 12:] == 1000).all()


def test_illumination_comes_out(tmp_path):
    truth = draw_fields(tmp_path / "in", fields=40, shape=(60, 80, 3), tissue=0.9, seed=2)
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root")
    left = made.mean / truth
    scatter = left.std(axis=(0, 1)) / left.mean(axis=(0, 1))
    noise = (made.standard_error / made.mean).mean(axis=(0, 1))
    assert (scatter < 1.4 * noise).all()
    rows, columns = left.mean(axis=(1, 2)), left.mean(axis=(0, 2))
    assert np.abs(rows / rows.mean() - 1).max() < 0.03
    assert np.abs(columns / columns.mean() - 1).max() < 0.03


def test_fields_with_little_tissue_are_left_out_with_the_reason(tmp_path):
    draw_fields(tmp_path / "in", fields=20, shape=(60, 80, 3), tissue=0.9)
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root")
    assert list(np.flatnonzero(~made.table["used"])) == [9, 19]
    assert "tissue, less than 80 %" in made.table["reason"][9]
    assert made.table["tissue"][9] < 0.5
    assert made.summary()["fields_used"] == 18
    assert made.mask_stack.max() == 18


def test_fields_full_of_tissue_keep_their_dark_corners(tmp_path):
    """Otsu's method parts anything in two; without background no pixel may be taken for it."""
    draw_fields(tmp_path / "in", fields=9, shape=(60, 80, 2), tissue=1.0, depth=0.6)
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root")
    assert (made.mask_stack == 9).all()
    assert made.background_threshold == (-np.inf, -np.inf)


@pytest.mark.parametrize("offset", [0, 100])
def test_thresholds_lie_between_background_and_tissue(tmp_path, offset):
    rng = np.random.default_rng(0)
    for number in range(4):
        pixels = rng.gamma(4, 250, (60, 80, 1)) * [1, 0.3] + rng.normal(5, 2, (60, 80, 2))
        pixels[:, :30] = rng.normal(5, 2, (60, 30, 2))
        write_image(tmp_path / f"{number}.tif", np.clip(pixels + offset, 0, None).astype(np.uint16))
    found = find_thresholds(find_fields(tmp_path), (60, 80, 2))
    assert 8 + offset < found[0] < 600 + offset
    assert 8 + offset < found[1] < 200 + offset


def test_dark_layer_has_no_say(tmp_path):
    pixels = draw_blocks(tmp_path / "draft", fields=4, shape=(40, 50, 2))
    pixels[..., 1] = 0
    for number, field in enumerate(pixels):
        write_image(tmp_path / "in" / f"{number}.tif", field.astype(np.uint16))
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root")
    assert made.background_threshold[1] == -np.inf
    assert made.mask_stack.max() == 4
    assert (made.mean[..., 1] == 0).all()


def test_number_of_workers_does_not_change_a_bit(tmp_path):
    draw_fields(tmp_path / "in", fields=12, shape=(30, 40, 2))
    files = find_fields(tmp_path / "in")
    one, many = (stack_fields(files, workers=workers) for workers in (1, 4))
    np.testing.assert_array_equal(one.sums.image_sum, many.sums.image_sum)
    np.testing.assert_array_equal(one.sums.squares_sum, many.sums.squares_sum)
    pd.testing.assert_frame_equal(one.table, many.table)


def test_made_slides_are_found_and_compared(tmp_path):
    for number, name in enumerate(("A", "B", "C")):
        draw_fields(tmp_path / name, fields=8, shape=(30, 40, 3), tissue=1.0, seed=number % 2)
        make_mean_image(
            tmp_path / name, slide_id=name, root_dir=tmp_path / "root", project=1 + number, batch=4,
            filter_names=["DAPI", "DAPI", "A & B <c>"],
        )  # fmt: skip
    slides = find_slides(tmp_path / "root")
    assert slides.problems.empty
    assert [slide.slide_id for slide in slides.slides] == ["A", "B", "C"]
    assert [(s.project, s.cohort, s.batch) for s in slides.slides] == [(1, 1, 4), (2, 1, 4), (3, 1, 4)]
    assert slides.slides[0].shape == (30, 40, 3)
    assert slides.slides[0].filter_groups == ("DAPI", "DAPI", "A & B <c>")
    values = compare_mean_images(tmp_path / "root").values
    assert np.isfinite(values[0, 1]).all()


def test_files_are_those_of_the_pipeline(tmp_path):
    draw_blocks(tmp_path / "in", fields=2)
    root = tmp_path / "root"
    made = make_mean_image(tmp_path / "in", slide_id="S", root_dir=root, background_threshold=0, microscope_name="M 1")
    assert (root / "sampledef.csv").read_bytes() == (
        b"SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\r\n1,S,1,1,1,1,1\r\n"
    )
    assert (made.folder / "fields_used.csv").read_bytes() == (
        b'slide,file,location,use,stacked_in_layers\r\nS,f0.tif,bulk,stacking,"[1, 2]"\r\n'
        b'S,f1.tif,bulk,stacking,"[1, 2]"\r\n'
    )
    summary = pd.read_csv(made.folder / "S-metadata_summary_stacked_images.csv")
    assert list(summary) == ["slideID", "project", "cohort", "microscope_name", "mindate", "maxdate"]
    assert summary["microscope_name"][0] == "M 1"
    on_disk = np.fromfile(made.folder / "S-mean_image.bin", "<f8").reshape(made.mean.shape)
    np.testing.assert_array_equal(on_disk, made.mean)
    assert not list(root.rglob("*.lock"))
    assert json.dumps(made.summary())
    assert json.dumps(made.settings)


def test_slides_are_added_to_a_table_that_is_there(tmp_path):
    draw_blocks(tmp_path / "in", fields=2)
    root = tmp_path / "root"
    root.mkdir()
    text = "SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood,note\r\n7,NA,3,2,1,9,1,first\r\n"
    (root / "sampledef.csv").write_text(text, newline="")
    make_mean_image(tmp_path / "in", slide_id="S", root_dir=root, project=5, background_threshold=0)
    assert (root / "sampledef.csv").read_text() == text.replace("\r\n", "\n") + "8,S,5,1,1,1,1,\n"


def test_listed_slide_keeps_its_line(tmp_path):
    draw_blocks(tmp_path / "in", fields=2)
    root = tmp_path / "root"
    root.mkdir()
    (root / "sampledef.csv").write_text("SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\n7,S,3,2,1,9,1\n")
    keywords = {"slide_id": "S", "root_dir": root, "background_threshold": 0}
    with pytest.raises(ValueError, match=r"project, cohort and batch must be \(3, 2, 9\) as .*sampledef\.csv"):
        make_mean_image(tmp_path / "in", **keywords)
    assert not (root / "S").exists()
    make_mean_image(tmp_path / "in", **keywords, project=3, cohort=2, batch=9)
    make_mean_image(tmp_path / "in", **keywords, replace=True, project=4)
    table = pd.read_csv(root / "sampledef.csv")
    assert table[["SampleID", "Project", "Cohort", "BatchID"]].to_numpy().tolist() == [[7, 4, 1, 1]]


def test_existing_slide_is_refused_unless_replaced(tmp_path):
    draw_blocks(tmp_path / "in", fields=3)
    keywords = {"slide_id": "S", "root_dir": tmp_path / "root", "background_threshold": 0}
    first = make_mean_image(tmp_path / "in", **keywords)
    files = find_fields(tmp_path / "in")[:2]
    with pytest.raises(ValueError, match=r"S must not have a mean image yet; .*S-mean_image\.bin exists"):
        make_mean_image(files, **keywords)
    second = make_mean_image(files, **keywords, replace=True)
    assert (first.mask_stack == 3).all() and (second.mask_stack == 2).all()
    other = make_mean_image(files, **keywords, meanimage_folder="meanimage_from_fw_files")
    assert other.folder.name == "meanimage_from_fw_files"
    assert len(pd.read_csv(tmp_path / "root" / "sampledef.csv")) == 1


def test_bad_fields_are_rows_and_the_rest_is_done(tmp_path):
    draw_blocks(tmp_path / "in", fields=4)
    files = find_fields(tmp_path / "in")
    files[1].write_bytes(files[1].read_bytes()[:400])
    write_image(files[2], np.ones((3, 4, 2), np.uint16))
    made = make_mean_image(
        [*files, tmp_path / "in" / "missing.tif"], slide_id="S", root_dir=tmp_path / "root", background_threshold=0
    )
    assert list(made.table["used"]) == [True, False, False, True, False]
    assert list(made.table["error"] != "") == [False, True, True, False, True]
    for row, words in ((1, "f1.tif must be whole"), (2, "f2.tif must have 12 x 16 x 2"), (4, "missing.tif")):
        assert words in made.table["error"][row]
    assert made.summary()["fields_failed"] == 3
    assert (made.mask_stack == 2).all()


def test_values_that_are_not_numbers_are_not_stacked(tmp_path):
    pixels = np.full((8, 9, 1), 100.0, np.float32)
    write_image(tmp_path / "in" / "a.tif", pixels)
    pixels[2, 3] = np.nan
    write_image(tmp_path / "in" / "b.tif", pixels)
    stack = stack_fields(find_fields(tmp_path / "in"))
    assert stack.sums.images_stacked[2, 3, 0] == 1
    assert np.isfinite(stack.sums.image_sum).all()


def test_fields_come_in_natural_order(tmp_path):
    for name in ("f10.tif", "f2.TIF", "f1.ome.tiff", "f3.png", ".f0.tif", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "g.tif").mkdir()
    assert [path.name for path in find_fields(tmp_path)] == ["f1.ome.tiff", "f2.TIF", "f3.png", "f10.tif"]


def test_cancelled_slide_writes_nothing(tmp_path):
    draw_blocks(tmp_path / "in", fields=5)
    cancel = threading.Event()
    with pytest.raises(Cancelled):
        make_mean_image(
            tmp_path / "in", slide_id="S", root_dir=tmp_path / "root", background_threshold=0,
            cancel=cancel, progress=lambda *_: cancel.set(),
        )  # fmt: skip
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\nb", " a"])
def test_slide_ids_that_are_no_folders_are_refused(tmp_path, name):
    draw_blocks(tmp_path / "in", fields=1)
    with pytest.raises(ValueError, match="slide_id must be the name of a folder"):
        make_mean_image(tmp_path / "in", slide_id=name, root_dir=tmp_path / "root")


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"min_tissue": 80}, "min_tissue must be a share from 0 to 1; got 80"),
        ({"exposure_time_ms": 0}, "exposure_time_ms must be above 0; got 0"),
        ({"exposure_time_ms": [1, 2, 3]}, "exposure_time_ms must be one number, or one for each of 2 layers; got 3"),
        ({"background_threshold": [1, 2, 3]}, "background_threshold must be one number, or one for each of 2 layers"),
        ({"filter_names": ["DAPI"]}, "filter_names must have a name for each of 2 layers; got 1"),
        ({"filter_names": ["DAPI", "\n"]}, "filter_names must be printable words"),
        ({"background_threshold": 5000}, "At least one of 2 fields must be readable and 80 % tissue; the best has 0 %"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, keywords, words):
    draw_blocks(tmp_path / "in", fields=2)
    with pytest.raises(ValueError, match=words):
        make_mean_image(tmp_path / "in", slide_id="S", root_dir=tmp_path / "root", **keywords)
    assert not (tmp_path / "root").exists()


def test_folders_without_fields_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must hold images"):
        make_mean_image(tmp_path, slide_id="S", root_dir=tmp_path / "root")
    with pytest.raises(ValueError, match=r"No such file.*nowhere"):
        make_mean_image(tmp_path / "nowhere", slide_id="S", root_dir=tmp_path / "root")
    with pytest.raises(ValueError, match=r"must be readable; the first: .*nowhere\.tif"):
        make_mean_image([tmp_path / "nowhere.tif"], slide_id="S", root_dir=tmp_path / "root")
    with pytest.raises(ValueError, match="at least one field"):
        make_mean_image([], slide_id="S", root_dir=tmp_path / "root")


def test_memory_does_not_grow_with_the_fields(tmp_path, monkeypatch):
    """No more fields are held at once than workers need, however many there are."""
    draw_blocks(tmp_path / "in", fields=1, shape=(30, 40, 2))
    field = find_fields(tmp_path / "in")[0]
    files = [shutil.copy(field, tmp_path / "in" / f"g{number}.tif") for number in range(30)]
    lock, held = threading.Lock(), {"now": 0, "most": 0}
    read, add = _fields._read_field, _fields._add_field

    def counted_read(*arguments):
        with lock:
            held["now"] += 1
            held["most"] = max(held["most"], held["now"])
        return read(*arguments)

    def counted_add(*arguments):
        add(*arguments)
        with lock:
            held["now"] -= 1

    monkeypatch.setattr(_fields, "_read_field", counted_read)
    monkeypatch.setattr(_fields, "_add_field", counted_add)
    stack_fields(files, background_threshold=0, workers=2)
    assert held["now"] == 0
    assert held["most"] <= 6


def test_eight_processes_making_slides_at_once_lose_nothing(tmp_path):
    draw_blocks(tmp_path / "in", fields=2)
    work = [(tmp_path / "in", f"S{number}", tmp_path / "root") for number in range(8)]
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        pool.map(make_from_another_process, work, chunksize=1)
    table = pd.read_csv(tmp_path / "root" / "sampledef.csv")
    assert sorted(table["SlideID"]) == [f"S{number}" for number in range(8)]
    assert sorted(table["SampleID"]) == list(range(1, 9))
    assert len(find_slides(tmp_path / "root")) == 8
