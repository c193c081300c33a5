"""Models equal the original's, the edge-aware ones the truth; every registered slide is in; corrections are safe."""

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.flatfield import _correction, find_slides
from analysis.flatfield._correction import apply_model, divide
from analysis.flatfield._model import create_model, read_model, stack_slides
from analysis.flatfield._registered import find_registered_slides
from analysis.flatfield._registry import register_model
from analysis.flatfield._smoothing import make_flatfield, mean_and_error, smooth_astropath, smooth_edge_aware
from analysis.images import read_image, write_image
from analysis.synthetic.flatfield import draw_cohort, draw_fields, write_slide
from analysis.tasks import Cancelled


def vignette(shape, kind):
    """A noise-free illumination with mean 1, off centre, dark in the corners."""
    rows, columns = shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    squared = (x - 0.2) ** 2 + ((y + 0.1) * rows / columns) ** 2
    values = {
        "hollow": 1 - 0.06 * squared,
        "cos4": 1 / (1 + 0.15 * squared) ** 2,
        "bell": 0.75 + 0.3 * np.exp(-squared / 0.72),
        "tilted": (1 - 0.1 * squared) * (1 + 0.05 * x + 0.03 * y),
    }[kind]
    return values / values.mean()


def sums_of(image, *, noise=0.0, images=100, mask=None):
    """Sums as of `images` exposures with a relative noise, in one layer."""
    image = image[..., None]
    mask = np.full(image.shape, images) if mask is None else mask[..., None] * images
    return image * mask, (image**2 * (1 + noise**2)) * mask, mask


def residual(flatfield, truth):
    """Standard deviation left after the truth is divided by the model, in percent."""
    left = truth / (flatfield / flatfield.mean())
    return 100 * left.std() / left.mean()


def reference_array(reference, name, dtype="<f8"):
    return np.fromfile(reference / "flatfield" / name, dtype).reshape(64, 80, 5)


# ------------------------------------------------------------------------------------- the original's numbers


@pytest.mark.reference
@pytest.mark.parametrize("version", ["vA", "vB"])
def test_model_equals_the_originals(reference, tmp_path, version):
    folder = reference / "flatfield"
    roots = [folder / "P1root", folder / "P2root"]
    model = create_model(version, roots=roots, model_table=folder / "models.csv", out_dir=tmp_path)
    name = f"flatfield_{version}"
    beside = f"out_bff/flatfield/{name}"
    expected = reference_array(reference, f"{beside}.bin")
    uncertainty = reference_array(reference, f"{beside}/{name}_uncertainty.bin")
    np.testing.assert_allclose(model.flatfield, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.uncertainty, uncertainty, rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.uncertainty, uncertainty, rtol=1e-9)
    for table in ("fields_used.csv", "metadata_summary_stacked_images.csv"):
        written = tmp_path / "flatfield" / name / table
        assert written.read_bytes() == (folder / beside / table).read_bytes()
    on_disk = np.fromfile(tmp_path / "flatfield" / f"{name}.bin", "<f8").reshape(expected.shape)
    np.testing.assert_array_equal(on_disk, model.flatfield)


@pytest.mark.reference
def test_edges_equal_the_originals(reference):
    masks = [reference_array(reference, f"edge/{name}-mask_stack.bin", "<u8") for name in ("E1", "E2")]
    means = [reference_array(reference, f"edge/{name}-mean_image.bin") for name in ("E1", "E2")]
    squares = sum(reference_array(reference, f"edge/{name}-sum_images_squared.bin") for name in ("E1", "E2"))
    image_sum = sum(mask * mean for mask, mean in zip(masks, means, strict=True))
    mean, error = (np.empty(image_sum.shape) for _ in range(2))
    for layer in range(5):
        parts = (values[..., layer] for values in (image_sum, squares, sum(masks)))
        mean[..., layer], error[..., layer] = mean_and_error(*parts)
    np.testing.assert_allclose(mean, reference_array(reference, "edge/stack_mean.bin"), rtol=0, atol=1e-12)
    np.testing.assert_allclose(error, reference_array(reference, "edge/stack_stderr.bin"), rtol=0, atol=1e-12)
    for sigma_px in (10, 100):
        expected = reference_array(reference, f"edge/smooth_sigma{sigma_px}.bin")
        expected_error = reference_array(reference, f"edge/smooth_sigma{sigma_px}_unc.bin")
        for layer in range(5):
            smoothed, left = smooth_astropath(mean[..., layer], error[..., layer], sigma_px=sigma_px)
            np.testing.assert_allclose(smoothed, expected[..., layer], rtol=0, atol=1e-9)
            np.testing.assert_allclose(left, expected_error[..., layer], rtol=1e-9, atol=1e-15)
    flatfield, uncertainty = make_flatfield(image_sum, squares, sum(masks))
    np.testing.assert_allclose(flatfield, reference_array(reference, "edge/flatfield.bin"), rtol=0, atol=1e-9)
    expected = reference_array(reference, "edge/flatfield_uncertainty.bin")
    np.testing.assert_allclose(uncertainty, expected, rtol=1e-9)


# ------------------------------------------------------------------------------------------------- smoothing


def plain_smooth(image, sigma_px):
    """The sum over taps, written out."""
    reach = round(2.5 * sigma_px)
    taps = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma_px**2))
    taps /= taps.sum()
    padded = np.pad(image, reach, mode="edge")
    rows = sum(tap * padded[i : i + image.shape[0]] for i, tap in enumerate(taps))
    return sum(tap * rows[:, i : i + image.shape[1]] for i, tap in enumerate(taps))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (20, 33), (64, 65)])
@pytest.mark.parametrize("sigma_px", [2, 10])
def test_smoothing_is_the_sum_over_taps(shape, sigma_px):
    image = np.random.default_rng(0).uniform(0, 100, shape)
    smoothed, _ = smooth_astropath(image, image, sigma_px=sigma_px)
    np.testing.assert_allclose(smoothed, plain_smooth(image, sigma_px), rtol=1e-12)


@pytest.mark.parametrize("kind", ["hollow", "cos4", "bell", "tilted"])
@pytest.mark.parametrize("shape", [(1004, 1344), (260, 350), (64, 86)])
def test_edge_aware_leaves_at_most_a_third_of_the_default(shape, kind):
    truth = vignette(shape, kind)
    left = {
        name: residual(make_flatfield(*sums_of(truth, noise=0.2), smoothing=name)[0][..., 0], truth)
        for name in ("astropath", "edge-aware")
    }
    assert left["edge-aware"] <= left["astropath"] / 3
    assert left["edge-aware"] < 0.1


@pytest.mark.parametrize("place", [(0, 0), (100, 150), (220, 310)])
def test_edge_aware_heals_a_hole(place):
    truth = vignette((260, 350), "cos4")
    mask = np.ones(truth.shape, dtype=int)
    mask[place[0] : place[0] + 40, place[1] : place[1] + 40] = 0
    hole = mask == 0
    healed = make_flatfield(*sums_of(truth * mask, noise=0.2, mask=mask), smoothing="edge-aware")[0][..., 0]
    dented = make_flatfield(*sums_of(truth * mask, noise=0.2, mask=mask))[0][..., 0]
    healed, dented = (np.abs(values / truth / np.median(values / truth) - 1) for values in (healed, dented))
    assert healed[~hole].max() < 0.005
    assert healed[hole].max() < 0.02
    assert dented.max() > 0.1


def test_edge_aware_keeps_noise_low_in_the_corners():
    rng = np.random.default_rng(3)
    noisy = 1 + 0.05 * rng.standard_normal((400, 520))
    left = {}
    for name in ("astropath", "edge-aware"):
        left[name] = np.abs(make_flatfield(*sums_of(noisy, noise=0.5), smoothing=name)[0] - 1).max()
    assert left["edge-aware"] < left["astropath"] / 2


@pytest.mark.parametrize("smoothing", ["astropath", "edge-aware"])
def test_uncertainty_is_the_scatter_of_models(smoothing):
    truth, noise = vignette((60, 80), "tilted"), 0.05
    rng = np.random.default_rng(1)
    models, claimed = [], None
    for _ in range(150):
        drawn = truth * (1 + noise * rng.standard_normal(truth.shape))
        mean, error = drawn, noise * truth
        if smoothing == "astropath":
            smoothed, claimed = smooth_astropath(mean, error)
        else:
            smoothed, claimed = smooth_edge_aware(mean, error, np.ones(truth.shape, bool))
        models.append(smoothed)
    ratio = claimed / np.std(models, axis=0)
    if smoothing == "edge-aware":  # the original's filtered variance knows nothing of repeated border pixels
        assert 0.8 < np.median(ratio) < 1.3
        assert 0.7 < ratio[0, 0] < 1.4
    else:
        assert np.median(ratio) < 1


@pytest.mark.parametrize("smoothing", ["astropath", "edge-aware"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 2), (9, 1, 1), (3, 700, 1), (8, 6, 3), (31, 17, 2)])
def test_small_images_give_sane_models(smoothing, shape):
    rng = np.random.default_rng(0)
    image = rng.uniform(50, 60, shape)
    flatfield, uncertainty = make_flatfield(image * 10, image**2 * 10.1, np.full(shape, 10), smoothing=smoothing)
    assert flatfield.shape == shape
    assert (np.abs(flatfield - 1) < 0.2).all()
    assert (uncertainty >= 0).all() and (uncertainty < 0.1).all()


@pytest.mark.parametrize("smoothing", ["astropath", "edge-aware"])
def test_layers_without_images_or_signal_are_ones(smoothing):
    image = np.full((12, 15, 3), 40.0)
    images = np.full(image.shape, 10)
    images[..., 1] = 0
    image[..., 1:] = 0
    flatfield, uncertainty = make_flatfield(image * 10, image**2 * 10, images, smoothing=smoothing)
    np.testing.assert_allclose(flatfield, 1, atol=1e-12)
    assert (uncertainty[..., 1:] == 1).all()
    assert (uncertainty[..., 0] < 1e-3).all()


@settings(deadline=None, max_examples=25)
@given(
    gain=st.floats(1e-3, 1e4),
    images=st.integers(1, 10_000),
    smoothing=st.sampled_from(["astropath", "edge-aware"]),
    seed=st.integers(0, 99),
)
def test_model_does_not_know_gain_nor_number_of_images(gain, images, smoothing, seed):
    image = np.random.default_rng(seed).uniform(80, 120, (14, 19, 1))
    count = np.full(image.shape, 5)
    first, first_error = make_flatfield(image * 5, image**2 * 5.2, count, smoothing=smoothing)
    many = count * images
    second, second_error = make_flatfield(
        gain * image * many, gain**2 * image**2 * 1.04 * many, many, smoothing=smoothing
    )
    np.testing.assert_allclose(second, first, rtol=1e-9)
    np.testing.assert_allclose(second_error * np.sqrt(images), first_error, rtol=1e-6)


@pytest.mark.parametrize("smoothing", ["astropath", "edge-aware"])
def test_model_of_the_transposed_image_is_transposed(smoothing):
    image = np.random.default_rng(0).uniform(80, 120, (21, 34, 2))
    count = np.full(image.shape, 5)
    parts = image * 5, image**2 * 5.2, count
    straight, _ = make_flatfield(*parts, smoothing=smoothing)
    turned, _ = make_flatfield(*(part.transpose(1, 0, 2) for part in parts), smoothing=smoothing)
    np.testing.assert_allclose(turned.transpose(1, 0, 2), straight, rtol=1e-11)


def test_inputs_are_kept_unless_overwriting_is_asked():
    parts = [part.astype(float) for part in sums_of(vignette((12, 20), "hollow"), noise=0.1)]
    before = [part.copy() for part in parts]
    kept = make_flatfield(*parts)
    for part, old in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, old)
    overwritten = make_flatfield(*parts, overwrite=True)
    assert overwritten[0] is parts[0]
    np.testing.assert_array_equal(overwritten[0], kept[0])
    np.testing.assert_array_equal(overwritten[1], kept[1])


def test_wrong_smoothing_and_shapes_are_refused():
    ones = np.ones((3, 4, 1))
    with pytest.raises(ValueError, match="smoothing must be 'astropath' or 'edge-aware'; got 'gauss'"):
        make_flatfield(ones, ones, ones, smoothing="gauss")
    with pytest.raises(ValueError, match="must have one shape of three axes"):
        make_flatfield(ones, ones, ones[:2])


# --------------------------------------------------------------------------------------- models of cohorts


@pytest.fixture
def cohort(tmp_path):
    return draw_cohort(tmp_path / "cohort", shape=(24, 32, 4), sizes=(3, 2), outliers=0)


def register(cohort, tmp_path, pattern="", version="v1", roots=None):
    slides = find_slides(cohort.roots if roots is None else roots).select(pattern)
    register_model(slides, version, model_table=tmp_path / "models.csv")
    return {"version": version, "model_table": tmp_path / "models.csv", "out_dir": tmp_path / "out"}


def test_model_is_the_illumination_of_its_group(cohort, tmp_path):
    keywords = register(cohort, tmp_path, "M1")
    told = []
    model = create_model(
        **keywords, roots=cohort.roots, smoothing="edge-aware", progress=lambda *step: told.append(step)
    )
    np.testing.assert_allclose(model.flatfield, cohort.illumination[0], atol=0.02)
    assert [slide.slide_id for slide in model.slides.slides] == ["M1_1", "M1_2", "M1_3"]
    assert (model.images_stacked == 1200).all()
    assert list(model.table["filter_group"]) == list(model.slides.slides[0].filter_groups)
    assert told[2][:2] == (3, 3)
    assert told[-1][:2] == (4, 4)


def test_written_model_reads_back(cohort, tmp_path):
    model = create_model(**register(cohort, tmp_path), roots=cohort.roots)
    found = read_model(model.paths["flatfield"])
    np.testing.assert_array_equal(found.flatfield, model.flatfield)
    np.testing.assert_array_equal(found.uncertainty, model.uncertainty)
    pd.testing.assert_frame_equal(found.table, model.table)
    assert found.settings == model.settings
    assert found.version == "v1"
    record = json.loads(model.paths["settings"].read_text())
    assert record["shape"] == [24, 32, 4]
    assert record["versions"]["graticule"]
    assert len(record["inputs"]) == 15
    assert [slide["slide_id"] for slide in record["slides"]] == list(cohort.slide_ids)
    assert json.dumps(model.summary())
    written = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    folder = "flatfield/flatfield_v1"
    names = ("flatfield_v1_uncertainty.bin", "flatfield_v1_settings.json", "fields_used.csv")
    expected = {f"{folder}/{name}" for name in (*names, "metadata_summary_stacked_images.csv")}
    assert written == expected | {"flatfield/flatfield_v1.bin"}


def test_settings_make_the_model_again(cohort, tmp_path):
    model = create_model(**register(cohort, tmp_path), roots=cohort.roots, smoothing="edge-aware")
    again = create_model(**{**model.settings, "out_dir": tmp_path / "again"})
    np.testing.assert_array_equal(again.flatfield, model.flatfield)


def test_roots_come_from_the_registration_too(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    model = create_model(**keywords, roots=[])
    assert len(model.slides) == 5
    one = create_model(**{**keywords, "out_dir": tmp_path / "b"}, roots=cohort.roots[1])
    assert {slide.slide_id for slide in one.slides.slides} == set(cohort.slide_ids)


def test_version_registered_elsewhere_needs_its_roots(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    shutil.rmtree(tmp_path / "models_events")
    with pytest.raises(ValueError, match=r"(?s)2 of 5 cannot be used.*M2_1 .*: not listed in .*project1.*M2_2 "):
        create_model(**keywords, roots=cohort.roots[0])
    assert len(create_model(**keywords, roots=cohort.roots).slides) == 5


def test_other_slides_of_the_roots_do_not_matter(cohort, tmp_path):
    """A shape or a damage of slides outside the version is nobody's concern."""
    keywords = register(cohort, tmp_path, "M1_[12]")
    (cohort.roots[0] / "M1_3" / "im3" / "xml" / "M1_3.Parameters.xml").write_text("<broken")
    table = cohort.roots[1] / "sampledef.csv"
    shape = (5, 6, 2)
    for name in ("M2_1", "M2_2"):
        shutil.rmtree(cohort.roots[1] / name)
        write_slide(cohort.roots[1], name, *(np.ones(shape),) * 3, np.ones(shape, np.uint64))
    assert table.exists()
    assert len(create_model(**keywords, roots=cohort.roots).slides) == 2


def test_each_missing_or_broken_slide_is_named_and_nothing_is_written(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    first, second = cohort.roots
    shutil.rmtree(first / "M1_1")
    squares = first / "M1_2" / "im3" / "meanimage" / "M1_2-sum_images_squared.bin"
    squares.write_bytes(squares.read_bytes()[:-8])
    (second / "M2_1" / "im3" / "meanimage" / "M2_1-mean_image.bin").unlink()
    with pytest.raises(ValueError, match="model v1 must contain every slide") as error:
        create_model(**keywords, roots=cohort.roots)
    lines = str(error.value).splitlines()
    assert "3 of 5 cannot be used, and nothing was written" in lines[0]
    assert lines[1].startswith("M1_1 (Project 1, Cohort 1, BatchID 1): missing")
    assert "M1_2-sum_images_squared.bin must have 24576 bytes" in lines[2]
    assert "M2_1-mean_image.bin" in lines[3]
    assert not (tmp_path / "out").exists()


def test_unreadable_root_is_said(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    shutil.rmtree(cohort.roots[1])
    with pytest.raises(ValueError, match=r"(?s)registered from .*project2.*These roots cannot be read:.*project2"):
        create_model(**keywords, roots=cohort.roots)


def renumber(root, column, number):
    table = pd.read_csv(root / "sampledef.csv", dtype=str)
    table[column] = str(number)
    table.to_csv(root / "sampledef.csv", index=False)


def test_one_slide_id_in_two_roots_is_decided_by_its_numbers(cohort, tmp_path):
    keywords = register(cohort, tmp_path, "M1", roots=cohort.roots[0])
    copy = tmp_path / "copy"
    shutil.copytree(cohort.roots[0], copy)
    renumber(copy, "Cohort", 7)
    slides = find_registered_slides("v1", roots=[copy, *cohort.roots], model_table=keywords["model_table"])
    assert {slide.root_dir for slide in slides.slides} == {cohort.roots[0]}


def test_one_slide_id_in_two_roots_is_decided_by_its_registration(cohort, tmp_path):
    keywords = register(cohort, tmp_path, "M1", roots=cohort.roots[0])
    copy = tmp_path / "copy"
    shutil.copytree(cohort.roots[0], copy)
    slides = find_registered_slides("v1", roots=[copy], model_table=keywords["model_table"])
    assert {slide.root_dir for slide in slides.slides} == {cohort.roots[0]}
    shutil.rmtree(tmp_path / "models_events")
    with pytest.raises(ValueError, match=r"M1_1 .*: listed in 2 roots: .*copy.*; give only the one that is meant"):
        find_registered_slides("v1", roots=[copy, cohort.roots[0]], model_table=keywords["model_table"])


def test_two_slides_of_one_name_are_both_in_the_model(cohort, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(cohort.roots[0], copy)
    keywords = register(cohort, tmp_path, "M1_1", roots=[cohort.roots[0], copy])
    model = create_model(**keywords, roots=[])
    assert [slide.root_dir for slide in model.slides.slides] == [cohort.roots[0], copy]
    assert (model.images_stacked == 800).all()
    shutil.rmtree(copy)
    with pytest.raises(ValueError, match=r"registered 2 times, from .*; 1 found"):
        create_model(**keywords, roots=[], replace=True)


def test_namesakes_with_other_numbers_are_refused(cohort, tmp_path):
    keywords = register(cohort, tmp_path, "M1")
    renumber(cohort.roots[0], "Project", 9)
    with pytest.raises(
        ValueError, match=r"only others of that name are listed: M1_1 \(Project 9, Cohort 1, BatchID 1\)"
    ):
        create_model(**keywords, roots=cohort.roots)


def test_rows_that_the_table_has_twice_count_once(cohort, tmp_path):
    keywords = register(cohort, tmp_path, "M1")
    table = keywords["model_table"]
    table.write_text(table.read_text() + table.read_text().split("\n", 1)[1])
    assert len(create_model(**keywords, roots=cohort.roots).slides) == 3


def test_slides_of_different_shapes_are_refused(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    shape = (5, 6, 4)
    write_slide(cohort.roots[1], "M2_1", *(np.ones(shape),) * 3, np.ones(shape, np.uint64))
    with pytest.raises(ValueError, match=r"images of one shape; got 24 x 32 x 4: M1_1.*; 5 x 6 x 4: M2_1"):
        create_model(**keywords, roots=cohort.roots)


def test_unknown_version_is_refused(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    with pytest.raises(ValueError, match=r"version must be registered in .*models\.csv; got 'v2', registered: v1"):
        create_model(**{**keywords, "version": "v2"}, roots=cohort.roots)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        create_model(**{**keywords, "model_table": tmp_path / "nowhere.csv"}, roots=cohort.roots)


def test_existing_model_is_refused_unless_replaced(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    before = create_model(**keywords, roots=cohort.roots).flatfield
    told = []
    with pytest.raises(ValueError, match=r"flatfield_v1\.bin must not exist yet; it does"):
        create_model(**keywords, roots=cohort.roots, smoothing="edge-aware", progress=lambda *step: told.append(step))
    assert not told
    after = create_model(**keywords, roots=cohort.roots, smoothing="edge-aware", replace=True)
    assert not np.array_equal(before, after.flatfield)
    np.testing.assert_array_equal(read_model(after.paths["flatfield"]).flatfield, after.flatfield)


def test_values_that_are_not_numbers_are_left_out_and_counted(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    slide = find_slides(cohort.roots[0]).slides[0]
    mean = np.fromfile(slide.mean_image, "<f8").reshape(slide.shape)
    mean[3, 4, 1] = np.nan
    mean[5, :, 2] = np.inf
    mean.tofile(slide.mean_image)
    model = create_model(**keywords, roots=cohort.roots)
    assert np.isfinite(model.flatfield).all()
    assert list(model.table["values_left_out"]) == [0, 1, 32, 0]
    assert model.images_stacked[3, 4, 1] == 1600
    assert list(model.table["images_stacked_min"]) == [2000, 1600, 1600, 2000]


def test_missing_table_of_fields_warns(cohort, tmp_path):
    keywords = register(cohort, tmp_path)
    (cohort.roots[0] / "M1_2" / "im3" / "meanimage" / "fields_used.csv").unlink()
    with pytest.warns(UserWarning, match=r"fields_used\.csv of the model lacks a slide.*M1_2"):
        model = create_model(**keywords, roots=cohort.roots)
    assert set(pd.read_csv(model.paths["fields_used"])["slide"]) == set(cohort.slide_ids) - {"M1_2"}


def test_cancelled_model_writes_nothing(cohort, tmp_path):
    keywords, cancel = register(cohort, tmp_path), threading.Event()

    def stop(done, total, words):
        if words == "smoothing layers":
            cancel.set()

    with pytest.raises(Cancelled):
        create_model(**keywords, roots=cohort.roots, progress=stop, cancel=cancel)
    assert not (tmp_path / "out").exists()


def test_sums_do_not_depend_on_the_blocks(cohort, monkeypatch):
    slides = find_slides(cohort.roots)
    whole = stack_slides(slides)
    monkeypatch.setattr("analysis.flatfield._model._BLOCK_BYTES", 1)
    by_rows = stack_slides(slides)
    np.testing.assert_array_equal(by_rows.image_sum, whole.image_sum)
    np.testing.assert_array_equal(by_rows.images_stacked, whole.images_stacked)
    mean = np.fromfile(slides.slides[0].mean_image, "<f8").reshape(slides.slides[0].shape)
    alone = stack_slides(slides.slides[:1])
    np.testing.assert_allclose(alone.image_sum / alone.images_stacked, mean)


def test_model_of_another_program_needs_its_shape(tmp_path):
    values = np.random.default_rng(0).uniform(0.9, 1.1, (6, 8, 2))
    values.tofile(tmp_path / "flatfield_x.bin")
    with pytest.raises(ValueError, match=r"shape must be given as \(rows, columns, layers\) for .*flatfield_x\.bin"):
        read_model(tmp_path / "flatfield_x.bin")
    with pytest.raises(ValueError, match=r"flatfield_x\.bin must have 784 bytes"):
        read_model(tmp_path / "flatfield_x.bin", (7, 7, 2))
    model = read_model(tmp_path / "flatfield_x.bin", (6, 8, 2))
    np.testing.assert_array_equal(model.flatfield, values)
    assert model.version == "x"
    assert model.uncertainty is None
    assert list(model.table["layer"]) == [1, 2]


def test_model_beside_other_settings_is_refused(cohort, tmp_path):
    model = create_model(**register(cohort, tmp_path), roots=cohort.roots)
    (model.flatfield + 0.1).tofile(model.paths["flatfield"])
    with pytest.raises(ValueError, match=r"flatfield_v1\.bin must be the model that .*settings\.json describes"):
        read_model(model.paths["flatfield"])
    model.paths["settings"].write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json must be the settings of a flatfield model"):
        read_model(model.paths["flatfield"])


# ---------------------------------------------------------------------------------------------- correction


@pytest.fixture
def model_file(tmp_path):
    """A model of (9, 12, 2) on disk, and its values."""
    values = np.random.default_rng(0).uniform(0.7, 1.3, (9, 12, 2))
    folder = tmp_path / "model"
    folder.mkdir()
    values.tofile(folder / "flatfield_v1.bin")
    return read_model(folder / "flatfield_v1.bin", values.shape), values


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_images_are_divided_in_their_own_type(model_file, tmp_path, dtype):
    model, values = model_file
    pixels = np.random.default_rng(1).uniform(10, 240, values.shape).astype(dtype)
    path = write_image(tmp_path / "in" / "a.tif", pixels, (0.5, 0.4))
    done = apply_model(model, [path], out_dir=tmp_path / "out")
    image = read_image(tmp_path / "out" / "a.tif")
    assert image.pixels.dtype == dtype
    assert image.pixel_size_um == (0.5, 0.4)
    exact = pixels / values
    if np.issubdtype(dtype, np.integer):
        exact = np.minimum(np.rint(exact), np.iinfo(dtype).max)
    np.testing.assert_allclose(image.pixels, exact, rtol=1e-6)
    assert done.summary() == {"images": 1, "corrected": 1, "failed": 0, "out_dir": str(tmp_path / "out")}


def test_whole_numbers_stay_within_their_type():
    pixels = np.array([0, 1, 200, 255], np.uint8).reshape(2, 2, 1)
    np.testing.assert_array_equal(divide(pixels, np.full((2, 2, 1), 0.5)).ravel(), [0, 2, 255, 255])
    signed = np.array([-32768, 32767], np.int16).reshape(1, 2, 1)
    np.testing.assert_array_equal(divide(signed, np.full((1, 2, 1), 0.9)).ravel(), [-32768, 32767])


def test_one_bad_image_does_not_stop_the_others(model_file, tmp_path):
    model, values = model_file
    folder = tmp_path / "in"
    for name in ("a.tif", "d.tif"):
        write_image(folder / name, values.astype("float32"))
    write_image(folder / "b.tif", values[:5].astype("float32"))
    (folder / "c.tif").write_bytes((folder / "a.tif").read_bytes()[:500])
    files = [folder / name for name in ("a.tif", "b.tif", "c.tif", "missing.tif", "d.tif")]
    table = apply_model(model, files, out_dir=tmp_path / "out").table
    assert list(table["error"] == "") == [True, False, False, False, True]
    assert "b.tif must have the shape of the model, 9 x 12 x 2" in table["error"][1]
    assert all(name in table["error"][i] for i, name in ((2, "c.tif"), (3, "missing.tif")))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.tif", "d.tif"]
    assert list(table["output"][1:4]) == ["", "", ""]


def test_images_of_one_name_do_not_overwrite_each_other(model_file, tmp_path):
    model, values = model_file
    files = [tmp_path / name for name in ("p/a.tif", "q/a.ome.tif", "r/A.tif", "r/a_2.tif", "s/a.tiff")]
    for number, path in enumerate(files):
        write_image(path, (number + 1) * values)
    table = apply_model(model, files, out_dir=tmp_path / "out").table
    assert (table["error"] == "").all()
    assert len({Path(output).name.lower() for output in table["output"]}) == 5
    assert [Path(output).name for output in table["output"]] == ["a.tif", "a_3.tif", "A_4.tif", "a_2.tif", "a_5.tif"]
    for number, output in enumerate(table["output"]):
        np.testing.assert_allclose(read_image(output).pixels, number + 1, rtol=1e-12)


def test_output_beside_or_inside_the_input_is_refused(model_file, tmp_path):
    model, values = model_file
    path = write_image(tmp_path / "in" / "a.tif", values)
    for out_dir in (tmp_path / "in", tmp_path / "in" / "corrected", tmp_path / "in" / ".." / "in"):
        with pytest.raises(ValueError, match="out_dir must lie outside the folder of the images"):
            apply_model(model, [path], out_dir=out_dir)
    assert sorted(tmp_path.joinpath("in").iterdir()) == [path]


def test_existing_outputs_are_kept_unless_replaced(model_file, tmp_path):
    model, values = model_file
    path = write_image(tmp_path / "in" / "a.tif", values)
    apply_model(model, tmp_path / "in", out_dir=tmp_path / "out")
    again = apply_model(model, path, out_dir=tmp_path / "out")
    assert "a.tif must not exist yet" in again.table["error"][0]
    assert apply_model(model, path, out_dir=tmp_path / "out", replace=True).summary()["failed"] == 0


def test_model_with_zeros_and_empty_input_are_refused(model_file, tmp_path):
    model, values = model_file
    with pytest.raises(ValueError, match="images must name at least one file"):
        apply_model(model, [], out_dir=tmp_path / "out")
    values[0, 0, 0] = 0
    values.tofile(tmp_path / "flatfield_z.bin")
    with pytest.raises(ValueError, match="must be finite and above 0"):
        apply_model(read_model(tmp_path / "flatfield_z.bin", values.shape), ["a.tif"], out_dir=tmp_path / "out")


# ------------------------------------------------------------------------------------------ test of a model


def test_halves_of_slides_show_what_a_model_corrects(tmp_path):
    cohort = draw_cohort(tmp_path, shape=(60, 80, 3), sizes=(6,), outliers=0, depth=0.3)
    check = _correction.check_model(find_slides(cohort.roots), smoothing="edge-aware", seed=4)
    truth = cohort.illumination[0]
    centre = truth[6:54, 8:72]
    for layer, row in enumerate(check.table.to_dict("records")):
        for prefix, values in (("", truth[..., layer]), ("central_", centre[..., layer])):
            spread = 100 * np.subtract(*np.percentile(values, (95, 5))) / values.mean()
            assert row[f"{prefix}spread_before_percent"] == pytest.approx(spread, rel=0.1)
            deviation = 100 * values.std() / values.mean()
            assert row[f"{prefix}standard_deviation_before_percent"] == pytest.approx(deviation, rel=0.1)
            assert row[f"{prefix}spread_after_percent"] < 0.1 * spread
        assert row["standard_deviation_after_percent"] < 3 * row["noise_percent"]
    assert set(check.halves[0]) | set(check.halves[1]) == set(cohort.slide_ids)
    assert not set(check.halves[0]) & set(check.halves[1])
    assert check.table["images_in_model"].tolist() == [1200] * 3
    assert json.dumps(check.summary())


def test_halves_follow_the_seed(tmp_path):
    slides = find_slides(draw_cohort(tmp_path, shape=(8, 10, 1), sizes=(7,), outliers=0).roots)
    first, again, other = (_correction.check_model(slides, seed=seed) for seed in (1, 1, 2))
    assert first.halves == again.halves != other.halves
    pd.testing.assert_frame_equal(first.table, again.table)
    assert [len(half) for half in first.halves] == [4, 3]


def test_halves_of_fields_show_what_a_model_corrects(tmp_path):
    truth = draw_fields(tmp_path / "fields", fields=24, shape=(60, 80, 2), tissue=0.9, seed=1)
    (tmp_path / "fields" / "broken.tif").write_bytes(b"II*\0")
    check = _correction.check_model(tmp_path / "fields", smoothing="edge-aware", seed=1)
    before = 100 * truth.std(axis=(0, 1))
    np.testing.assert_allclose(check.table["standard_deviation_before_percent"], before, rtol=0.2)
    assert (check.table["standard_deviation_after_percent"] < before / 4).all()
    assert len(check.problems) == 1
    assert "broken.tif" in check.problems["error"][0]


def test_noise_is_not_taken_for_illumination(tmp_path):
    """Even light and noisy pixels: what is measured is the noise that is predicted."""
    cohort = draw_cohort(tmp_path, shape=(80, 100, 1), sizes=(4,), outliers=0, depth=0, difference=0, noise=0.5)
    slides = find_slides(cohort.roots)
    for sigma_px in (0, 3, 8):
        row = _correction.check_model(slides, smoothing="edge-aware", measuring_sigma_px=sigma_px).table.iloc[0]
        tilt = 100 * cohort.illumination[0].std()
        rest = np.sqrt(max(row["standard_deviation_before_percent"] ** 2 - tilt**2, 0)) if tilt else 0
        assert rest >= 0
        assert row["central_standard_deviation_after_percent"] == pytest.approx(row["noise_percent"], rel=0.35)


def test_wrong_tests_are_refused(tmp_path):
    slides = find_slides(draw_cohort(tmp_path, shape=(8, 10, 1), sizes=(1,), outliers=0).roots)
    with pytest.raises(ValueError, match="at least two images, one for each half; got 1"):
        _correction.check_model(slides)
    with pytest.raises(ValueError, match="smoothing must be"):
        _correction.check_model(slides, smoothing="no")
    with pytest.raises(ValueError, match="sigma_px must be 0 or above; got -1"):
        _correction.check_model(slides, measuring_sigma_px=-1)
