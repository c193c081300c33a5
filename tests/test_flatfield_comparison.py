"""The statistic is right, pairs are kept, and no kill, change or bad file spoils them."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analysis.flatfield import _blocks, _computation, compare_mean_images, compare_pair, find_slides
from analysis.flatfield._store import TABLE_COLUMNS, TABLE_NAME, Store
from analysis.synthetic.flatfield import draw_cohort, write_slide
from analysis.tables import read_table
from analysis.tasks import Cancelled


def plain_statistic(mean_1, error_1, mean_2, error_2):
    """The formula as AstroPath writes it, one layer at a time, without our exclusions."""
    parts = []
    for mean, error in ((mean_1, error_1), (mean_2, error_2)):
        weight = np.divide(1, error**2, out=np.zeros_like(error), where=error != 0)
        norm = np.sum(weight * mean) / np.sum(weight)
        parts.append((mean / norm, error / norm))
    (m1, s1), (m2, s2) = parts
    d = (m1 - m2) / np.sqrt(s1**2 + s2**2)
    return d[d != 0].std()


def write_pair(folder, *images, mask=None):
    """Write (mean, error) pairs of (rows, columns, layers) as slides A, B, ... of one root."""
    root = Path(folder) / "root"
    names = [chr(ord("A") + i) for i in range(len(images))]
    for name, (mean, error) in zip(names, images, strict=True):
        stacked = np.full(mean.shape, 9, dtype=np.uint64) if mask is None else mask
        write_slide(root, name, mean, error, mean**2, stacked)
    lines = "".join(f"{i},{name},1,1,1,1,1\r\n" for i, name in enumerate(names, start=1))
    (root / "sampledef.csv").write_text("SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\r\n" + lines)
    return root


def draw_image(rng, shape=(20, 30, 3)):
    mean = rng.uniform(1, 100, shape[2]) * (1 + 0.1 * rng.random(shape))
    return mean, mean * rng.uniform(0.005, 0.02, shape)


@pytest.fixture
def roots(tmp_path):
    return draw_cohort(tmp_path / "data", seed=3, shape=(20, 26, 4), sizes=(3, 3), outliers=1).roots


def as_dict(table):
    ends = zip(table["slide_ID_1"], table["slide_ID_2"], strict=True)
    return {
        (frozenset(end), layer): value
        for end, layer, value in zip(ends, table["layer_n"], table["delta_over_sigma_std_dev"], strict=True)
    }


@pytest.mark.reference
def test_table_equals_the_originals(reference, tmp_path):
    folder = reference / "flatfield"
    found = compare_mean_images([folder / "P1root", folder / "P2root"], working_dir=tmp_path)
    expected = as_dict(pd.read_csv(folder / "out_mic" / TABLE_NAME))
    for table in (found.table, pd.read_csv(tmp_path / TABLE_NAME)):
        assert as_dict(table) == pytest.approx(expected, rel=1e-12, abs=0)


def test_equals_the_formula(tmp_path):
    rng = np.random.default_rng(0)
    images = [draw_image(rng) for _ in range(4)]
    root = write_pair(tmp_path, *images)
    found = compare_mean_images(root)
    for i in range(4):
        for j in range(i):
            expected = [plain_statistic(*(a[..., k] for a in (*images[i], *images[j]))) for k in range(3)]
            assert found.values[i, j] == pytest.approx(expected, rel=1e-12)
            assert (found.values[i, j] == found.values[j, i]).all()
            pair = compare_pair(found.slides.slides[i], found.slides.slides[j], 2)
            assert pair.standard_deviation == pytest.approx(expected[1], rel=1e-12)
    assert np.isnan(found.values[range(4), range(4)]).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    gain=st.floats(1e-3, 1e3),
    scale=st.sampled_from([1.0, 1e-12, 1e-20, 1e20]),
    shape=hnp.array_shapes(min_dims=3, max_dims=3, min_side=3, max_side=7),
)
def test_gain_transposition_and_scale_do_not_matter(tmp_path_factory, seed, gain, scale, shape):
    rng = np.random.default_rng(seed)
    (m1, s1), (m2, s2) = draw_image(rng, shape), draw_image(rng, shape)
    s2 = s2 * rng.choice([1, scale])  # far outside single precision, too
    expected = [plain_statistic(m1[..., k], s1[..., k], m2[..., k], s2[..., k]) for k in range(shape[2])]
    for images in (
        ((m1, s1), (m2, s2)),
        ((m2, s2), (gain * m1, gain * s1)),
        ((m1.swapaxes(0, 1), s1.swapaxes(0, 1)), (m2.swapaxes(0, 1), s2.swapaxes(0, 1))),
    ):
        found = compare_mean_images(write_pair(tmp_path_factory.mktemp("pair"), *images)).values[0, 1]
        assert found == pytest.approx(expected, rel=1e-9)


def test_inside_a_group_the_statistic_is_one(tmp_path):
    cohort = draw_cohort(tmp_path, seed=5, shape=(64, 80, 5), sizes=(4, 3), outliers=1)
    average = compare_mean_images(cohort.roots).average()
    groups = np.array(cohort.groups)
    same = (groups[:, None] == groups) & (groups >= 0) & ~np.eye(len(groups), dtype=bool)
    assert np.abs(average[same] - 1).max() < 0.02
    assert average[~same & ~np.eye(len(groups), dtype=bool)].min() > 1.1


def test_pixels_without_information_are_left_out_and_counted(tmp_path):
    rng = np.random.default_rng(1)
    (m1, s1), (m2, s2) = draw_image(rng), draw_image(rng)
    clean = [plain_statistic(m1[..., k][1:], s1[..., k][1:], m2[..., k][1:], s2[..., k][1:]) for k in range(3)]
    m1[0, :3] = np.nan
    s1[0, 3:6] = np.inf
    m2[0, 6:9] = np.inf
    s1[0, 9:] = s2[0, 9:] = 0
    # a first row that weighs nothing in either slide leaves the normalisation to the rest
    s1[0, :9][np.isfinite(s1[0, :9])] = np.nan
    s2[0, :9] = np.nan
    found = compare_mean_images(write_pair(tmp_path, (m1, s1), (m2, s2)))
    assert found.values[0, 1] == pytest.approx(clean, rel=1e-12)
    assert (found.left_out[0, 1] == 30).all()
    assert found.problems.empty


def test_uncovered_pixels_are_left_out(tmp_path):
    rng = np.random.default_rng(2)
    (m1, s1), (m2, s2) = draw_image(rng), draw_image(rng)
    mask = np.full(m1.shape, 9, dtype=np.uint64)
    mask[5:10, :, 1] = 0
    keep = [slice(None), np.r_[0:5, 10:20], slice(None)]
    expected = [plain_statistic(*(a[keep[k], :, k] for a in (m1, s1, m2, s2))) for k in range(3)]
    found = compare_mean_images(write_pair(tmp_path, (m1, s1), (m2, s2), mask=mask))
    assert found.values[0, 1] == pytest.approx(expected, rel=1e-12)
    assert found.left_out[0, 1].tolist() == [0, 150, 0]


def test_layers_without_anything_do_not_poison_the_average(tmp_path):
    rng = np.random.default_rng(3)
    images = [draw_image(rng), draw_image(rng)]
    for mean, error in images:
        mean[..., 1] = error[..., 1] = 0
    found = compare_mean_images(write_pair(tmp_path, *images))
    assert np.isnan(found.values[0, 1, 1])
    assert found.average()[0, 1] == pytest.approx(np.mean(found.values[0, 1, [0, 2]]))
    assert found.layers_used()[0, 1] == 2
    same = compare_mean_images(write_pair(tmp_path / "same", images[0], images[0]))
    assert np.isnan(same.values[0, 1]).all() and (same.left_out[0, 1] == 600).all()


def test_slide_of_nothing_but_nan_is_listed_and_the_rest_done(tmp_path):
    rng = np.random.default_rng(4)
    good = [draw_image(rng) for _ in range(2)]
    root = write_pair(tmp_path, *good, (np.full((20, 30, 3), np.nan), good[0][1]))
    found = compare_mean_images(root)
    assert found.slides.labels == ("A", "B") and np.isfinite(found.values[0, 1]).all()
    assert "must have a layer with pixels" in found.problems["found"][0]
    assert found.problems["slide_id"].tolist() == ["C"]


def test_another_shape_is_listed(tmp_path):
    rng = np.random.default_rng(5)
    root = write_pair(tmp_path, *[draw_image(rng) for _ in range(3)], draw_image(rng, (20, 30, 2)))
    problems = compare_mean_images(root).problems
    assert problems["expected"].tolist() == ["20 x 30 x 3 as 3 other slides"]
    assert problems["found"].tolist() == ["20 x 30 x 2"]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_same_bits_for_any_number_of_workers(roots, workers, monkeypatch):
    monkeypatch.setattr(_computation, "BLOCK_PIXELS", 100)
    expected = compare_mean_images(roots, workers=3)
    found = compare_mean_images(roots, workers=workers)
    assert np.array_equal(found.values, expected.values, equal_nan=True)
    assert np.array_equal(found.left_out, expected.left_out)


def test_order_of_roots_does_not_matter(roots):
    a, b = compare_mean_images(roots).table, compare_mean_images(roots[::-1]).table
    assert as_dict(a) == pytest.approx(as_dict(b), rel=1e-13)


def test_only_new_or_changed_pairs_are_computed(roots, tmp_path):
    first = compare_mean_images(roots[:1], working_dir=tmp_path)
    assert first.new_pairs == 3
    again = compare_mean_images(roots[:1], working_dir=tmp_path)
    assert again.new_pairs == 0 and np.array_equal(again.values, first.values, equal_nan=True)
    joined = compare_mean_images(roots, working_dir=tmp_path)
    assert joined.new_pairs == 21 - 3
    path = roots[0] / "M1_2" / "im3" / "meanimage" / "M1_2-mean_image.bin"
    np.fromfile(path).__mul__(np.linspace(1, 1.5, 2080)).tofile(path)
    changed = compare_mean_images(roots, working_dir=tmp_path)
    assert changed.new_pairs == 6
    fresh = compare_mean_images(roots)
    assert np.array_equal(changed.values, fresh.values, equal_nan=True)
    assert as_dict(pd.read_csv(tmp_path / TABLE_NAME)) == pytest.approx(as_dict(fresh.table), rel=1e-15)


def test_both_mean_image_folders_are_kept_apart(tmp_path):
    for folder, seed in (("meanimage", 1), ("meanimage_from_fw_files", 2)):
        roots = draw_cohort(
            tmp_path / "data", seed=seed, shape=(8, 9, 2), sizes=(2,), outliers=0, meanimage_folder=folder
        ).roots
    for _ in range(2):
        values = [
            compare_mean_images(roots, working_dir=tmp_path / "w", meanimage_folder=folder).values[0, 1]
            for folder in ("meanimage", "meanimage_from_fw_files")
        ]
        assert (values[0] != values[1]).all()


def test_known_slides_join_while_their_root_is_there(roots, tmp_path):
    compare_mean_images(roots[:1], working_dir=tmp_path)
    joined = compare_mean_images(roots[1:], working_dir=tmp_path, sample_regex="M._[123]")
    assert len(joined.slides) == 6 and joined.problems.empty
    roots[0].rename(roots[0].with_name("elsewhere"))
    left = compare_mean_images(roots[1:], working_dir=tmp_path, sample_regex="M._[123]")
    assert len(left.slides) == 3
    assert set(left.problems["slide_id"]) == {"M1_1", "M1_2", "M1_3"}
    assert set(left.problems["reason"]) == {"root no longer there"}


def test_existing_table_is_imported_and_kept(roots, tmp_path, monkeypatch):
    compare_mean_images(roots, working_dir=tmp_path / "other")
    table = read_table(tmp_path / "other" / TABLE_NAME, columns=TABLE_COLUMNS, numbers=TABLE_COLUMNS[-1:])
    monkeypatch.chdir(roots[0].parent)
    for column in ("root_dir_1", "root_dir_2"):
        table[column] = table[column].map(lambda root: Path(root).name)  # as typed, relative to where one stood
    gone = table.iloc[:1].assign(root_dir_1="/not/here", slide_ID_1="OLD", delta_over_sigma_std_dev=1.25)
    work = tmp_path / "work"
    work.mkdir()
    rows = pd.concat([table[table["slide_ID_1"] != "M2_4"], gone])
    rows.to_csv(work / TABLE_NAME, index=False)
    with open(work / TABLE_NAME, "a") as handle:
        handle.write("project1,M1_1,project1,M1_2,1,0.9")  # a line that a killed writer left
    found = compare_mean_images(roots, working_dir=work)
    missing = len(table[(table["slide_ID_1"] == "M2_4")]) // 4
    assert found.new_pairs == missing
    assert as_dict(found.table) == pytest.approx(as_dict(compare_mean_images(roots).table), rel=1e-12)
    written = pd.read_csv(work / TABLE_NAME)
    old = written[(written["slide_ID_1"] == "OLD") | (written["slide_ID_2"] == "OLD")].dropna()
    assert old["delta_over_sigma_std_dev"].tolist() == [1.25]
    assert len(written) == len(table) + 1


def exported(folder):
    return as_dict(pd.read_csv(folder / TABLE_NAME))


def test_table_shows_the_states_compared_last(tmp_path):
    for folder, seed in (("meanimage", 1), ("meanimage_from_fw_files", 2)):
        shape = {"shape": (8, 9, 2), "sizes": (3,), "outliers": 0}
        roots = draw_cohort(tmp_path / "data", seed=seed, meanimage_folder=folder, **shape).roots
    for folder in ("meanimage", "meanimage_from_fw_files", "meanimage"):
        found = compare_mean_images(roots, working_dir=tmp_path / "w", meanimage_folder=folder)
        assert exported(tmp_path / "w") == pytest.approx(as_dict(found.table), rel=1e-15)


def test_imported_pairs_that_lack_numbers_are_computed(roots, tmp_path):
    complete = compare_mean_images(roots, working_dir=tmp_path / "other")
    table = pd.read_csv(tmp_path / "other" / TABLE_NAME)
    table.loc[1, "delta_over_sigma_std_dev"] = np.nan
    work = tmp_path / "work"
    work.mkdir()
    table.drop(index=[6]).to_csv(work / TABLE_NAME, index=False, na_rep="nan")
    found = compare_mean_images(roots, working_dir=work)
    assert found.new_pairs == 2
    assert as_dict(found.table) == pytest.approx(as_dict(complete.table), rel=1e-12)
    assert exported(work) == pytest.approx(as_dict(complete.table), rel=1e-12)


def test_import_under_a_narrow_pattern_serves_a_wider_one(roots, tmp_path):
    compare_mean_images(roots, working_dir=tmp_path / "other")
    work = tmp_path / "work"
    work.mkdir()
    shutil.copy(tmp_path / "other" / TABLE_NAME, work)
    assert compare_mean_images(roots, working_dir=work, sample_regex="M1_[12]").new_pairs == 0
    assert compare_mean_images(roots, working_dir=work).new_pairs == 0


def test_slides_of_the_given_roots_decide_the_shape(tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.flatfield._store._MOST_SHARDS", 1)
    few = draw_cohort(tmp_path / "a", shape=(8, 9, 2), sizes=(2,), outliers=0).roots
    many = draw_cohort(tmp_path / "b", shape=(8, 9, 5), sizes=(4,), outliers=0).roots
    work = tmp_path / "work"
    compare_mean_images(many, working_dir=work)
    found = compare_mean_images(few, working_dir=work)
    assert found.slides.labels == ("M1_1", "M1_2") and found.new_pairs == 1
    assert set(found.problems["reason"]) == {"another image shape"}
    written = pd.read_csv(work / TABLE_NAME)
    assert len(written) == 6 * 5 + 2 and written["delta_over_sigma_std_dev"].notna().all()
    for roots in (few, many):
        assert compare_mean_images(roots, working_dir=work).new_pairs == 0


def test_imported_pairs_of_newer_files_are_computed_again(roots, tmp_path):
    compare_mean_images(roots[:1], working_dir=tmp_path / "other")
    work = tmp_path / "work"
    work.mkdir()
    table = pd.read_csv(tmp_path / "other" / TABLE_NAME)
    table["delta_over_sigma_std_dev"] = 7.0
    table.to_csv(work / TABLE_NAME, index=False)
    os.utime(work / TABLE_NAME, (1e9, 1e9))
    found = compare_mean_images(roots[:1], working_dir=work)
    assert found.new_pairs == 3 and np.nanmax(found.values) < 7
    assert pd.read_csv(work / TABLE_NAME)["delta_over_sigma_std_dev"].max() < 7


def test_too_few_images_stacked_is_listed_with_the_layer(tmp_path):
    rng = np.random.default_rng(6)
    root = write_pair(tmp_path, *[draw_image(rng) for _ in range(3)])
    path = root / "B" / "im3" / "meanimage" / "B-mask_stack.bin"
    mask = np.fromfile(path, dtype=np.uint64).reshape(20, 30, 3)
    mask[0, 0] = 1  # one pixel does not make a slide bad
    mask.tofile(path)
    assert len(compare_mean_images(root, min_images_stacked=8).slides) == 3
    mask[..., 2] = 4
    mask.tofile(path)
    found = compare_mean_images(root, min_images_stacked=8)
    assert found.slides.labels == ("A", "C")
    assert found.problems["found"].tolist() == ["4.0 in layer 3"]


def test_file_that_ends_while_it_is_read(roots, monkeypatch):
    path = roots[0] / "M1_2" / "im3" / "meanimage" / "M1_2-std_err_of_mean_image.bin"
    real = _computation._add_up

    def cut_first(*args):
        path.write_bytes(path.read_bytes()[:64])
        return real(*args)

    monkeypatch.setattr(_computation, "_add_up", cut_first)
    found = compare_mean_images(roots)
    assert len(found.slides) == 6 and np.isfinite(found.values[0, 1]).all()
    assert found.problems["slide_id"].tolist() == ["M1_2"]
    assert "must have at least" in found.problems["found"][0]


def test_damaged_shard_is_set_aside(roots, tmp_path):
    compare_mean_images(roots, working_dir=tmp_path)
    shard = next((tmp_path / "meanimagecomparison_store").glob("pairs-*.npz"))
    shard.write_bytes(shard.read_bytes()[:200])
    (tmp_path / TABLE_NAME).unlink()
    assert compare_mean_images(roots, working_dir=tmp_path).new_pairs == 21
    assert shard.with_suffix(".damaged").exists()


def test_many_small_runs_are_merged(roots, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.flatfield._store._MOST_SHARDS", 3)
    names = ["M1_1", "M1_2", "M1_3", "M2_1", "M2_2", "M2_3", "M2_4"]
    for count in range(2, 8):
        compare_mean_images(roots, working_dir=tmp_path, sample_regex="|".join(names[:count]) + "$")
    assert len(list((tmp_path / "meanimagecomparison_store").glob("pairs-*.npz"))) <= 4
    assert compare_mean_images(roots, working_dir=tmp_path).new_pairs == 0
    assert len(pd.read_csv(tmp_path / TABLE_NAME)) == 21 * 4


def test_without_computing_only_what_is_known(roots, tmp_path):
    compare_mean_images(roots[:1], working_dir=tmp_path)
    found = compare_mean_images(roots, working_dir=tmp_path, compute=False)
    assert found.unknown_pairs == 18 and found.new_pairs == 0
    assert np.isfinite(found.average()).sum() == 6


def test_cancelled_run_goes_on_where_it_stopped(roots, tmp_path, monkeypatch):
    monkeypatch.setattr(_computation, "BLOCK_PIXELS", 52)
    monkeypatch.setattr(_computation, "_CHECKPOINT_S", -1)
    cancel, reads = threading.Event(), []
    real = _computation.BlockReader.read

    def counted(self, first, count):
        reads.append(first)
        return real(self, first, count)

    monkeypatch.setattr(_computation.BlockReader, "read", counted)

    def stop_half_way(done, total, words):
        if words.startswith("comparing") and done == 5:
            cancel.set()

    with pytest.raises(Cancelled):
        compare_mean_images(roots, working_dir=tmp_path, cancel=cancel, progress=stop_half_way, workers=1)
    assert not (tmp_path / TABLE_NAME).exists()
    reads.clear()
    found = compare_mean_images(roots, working_dir=tmp_path, workers=1)
    assert 0 < reads[0] <= 5 * 52 and reads == list(range(reads[0], 520, 52))
    monkeypatch.setattr(_computation, "BLOCK_PIXELS", 1024)
    assert found.values == pytest.approx(compare_mean_images(roots).values, rel=1e-13, nan_ok=True)
    assert not list((tmp_path / "meanimagecomparison_store").glob("partial-*"))


def test_sums_that_lack_a_block_do_not_outlive_the_run(roots, tmp_path, monkeypatch):
    monkeypatch.setattr(_computation, "BLOCK_PIXELS", 52)
    monkeypatch.setattr(_computation, "_CHECKPOINT_S", -1)
    real, cancel = _blocks.read_block, threading.Event()

    def fail_once(path, first, out):
        if path.name == "M1_2-mean_image.bin" and first == 0 and len(out) == 52:
            raise OSError(5, "Input/output error", str(path))
        real(path, first, out)

    def stop_half_way(done, total, words):
        if words.startswith("comparing") and done == 5:
            cancel.set()

    with monkeypatch.context() as patched:
        patched.setattr(_blocks, "read_block", fail_once)
        with pytest.raises(Cancelled):
            compare_mean_images(roots, working_dir=tmp_path, cancel=cancel, progress=stop_half_way, workers=1)
    found = compare_mean_images(roots, working_dir=tmp_path)
    assert found.values == pytest.approx(compare_mean_images(roots).values, rel=1e-13, nan_ok=True)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"memory_gb": 0.01}, "memory_gb must be at least 0.05; got 0.01"),
        ({"min_images_stacked": -1}, "min_images_stacked must not be negative"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"sample_regex": "("}, "must be a regular expression"),
    ],
)
def test_refusals(roots, options, match):
    with pytest.raises(ValueError, match=match):
        compare_mean_images(roots, **options)


def test_nothing_and_one_slide(roots, tmp_path):
    none = compare_mean_images(roots, sample_regex="none")
    assert none.values.shape == (0, 0, 0) and none.table.empty and none.average().shape == (0, 0)
    one = compare_mean_images(roots, sample_regex="M1_1", working_dir=tmp_path)
    assert one.values.shape == (1, 1, 4) and one.summary()["highest_value"] is None


GROWING = """
import sys
from analysis.flatfield import compare_mean_images
folder, root = sys.argv[1:]
compare_mean_images(root, sample_regex="M1_[12]$")  # everything imported and compiled
print("ready", flush=True)
for count in range(2, 15):
    names = "|".join(f"M1_{i}" for i in range(1, count + 1))
    compare_mean_images(root, working_dir=folder, sample_regex=f"({names})$")
print("done", flush=True)
"""


def test_twenty_kills_lose_and_repeat_nothing(tmp_path):
    root = draw_cohort(tmp_path / "data", shape=(96, 128, 8), sizes=(14,), outliers=0).roots[0]
    work, dice = tmp_path / "work", random.Random(7)
    store = Store(work)
    finished = set()
    for _ in range(20):
        run = subprocess.Popen([sys.executable, "-c", GROWING, work, root], stdout=subprocess.PIPE, text=True)
        assert run.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0, 0.25))
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
        now = pairs_in(store)
        assert len(now) == len(set(now)), "a finished pair was done twice"
        assert finished <= set(now), "a finished pair was lost"
        finished = set(now)
        if store.table_path.exists():
            table = read_table(store.table_path, columns=TABLE_COLUMNS, numbers=TABLE_COLUMNS[-1:])
            assert table.attrs["torn_line"] is None and table["delta_over_sigma_std_dev"].notna().all()
    assert finished, "no run got as far as a finished pair"
    out = subprocess.run([sys.executable, "-c", GROWING, work, root], capture_output=True, text=True, check=True)
    assert out.stdout.endswith("done\n")
    assert len(pairs_in(store)) == len(set(pairs_in(store))) == 14 * 13 // 2
    fresh = compare_mean_images(root)
    assert as_dict(pd.read_csv(store.table_path)) == pytest.approx(as_dict(fresh.table), rel=1e-13)


def pairs_in(store):
    return [
        frozenset((shard.keys[i][1], shard.keys[j][1]))
        for shard in store.read()
        for i, j in zip(shard.first, shard.second, strict=True)
    ]


def test_two_runs_at_once_share_the_work(roots, tmp_path):
    found = []

    def run():
        found.append(compare_mean_images(roots, working_dir=tmp_path))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(c.new_pairs for c in found) == [0, 0, 21]
    assert len(pairs_in(Store(tmp_path))) == 21


def test_cancel_is_heard_while_waiting_for_another_run(roots, tmp_path):
    from analysis.files import locked

    cancel = threading.Event()
    cancel.set()
    with locked(Store(tmp_path).run_lock), pytest.raises(Cancelled, match="another run was busy"):
        compare_mean_images(roots, working_dir=tmp_path, cancel=cancel)


def test_pair_refusals(roots):
    slides = find_slides(roots).slides
    with pytest.raises(ValueError, match="layer must be from 1 to 4; got 5"):
        compare_pair(slides[0], slides[1], 5)
    pair = compare_pair(slides[0], slides[1], 1)
    density, edges = pair.histogram
    assert np.sum(density * np.diff(edges)) == pytest.approx(1)
    assert pair.summary()["slides"] == ["M1_1", "M1_2"]
