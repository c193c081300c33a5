"""Every instrument gives the same table on the workers of a scheduler as on this machine, row for row."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from analysis.circles import find_acquisitions, read_failures, run_pipeline
from analysis.exposures import read_epu_session
from analysis.flatfield import apply_model, compare_mean_images, create_model, make_mean_image, register_model
from analysis.scheduler import open_scheduler
from analysis.synthetic.circles import draw_acquisitions
from analysis.synthetic.exposures import draw_session
from analysis.synthetic.flatfield import draw_cohort, draw_fields
from analysis.synthetic.texture import draw_tile_set
from analysis.synthetic.tiles import draw_images
from analysis.texture import find_tile_set, measure_patches
from analysis.tiles import export_tiles
from dashboards.support.command import main
from dashboards.texture import TextureDashboard
from dashboards.tiles import TilesDashboard

pytest.importorskip("distributed", reason="dask.distributed is not installed")


@pytest.fixture
def executor(cluster):
    with open_scheduler(cluster.address) as opened:
        yield opened


def bytes_of(folder, *, but=()):
    """Content of every file by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part in str(path) for part in but)
    }


def same(first, second):
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_comparison_of_slides(executor, tmp_path):
    roots = draw_cohort(tmp_path / "data", shape=(96, 128, 8), sizes=(4, 3), seed=1).roots
    here = compare_mean_images(roots)
    there = compare_mean_images(roots, executor=executor, working_dir=tmp_path / "work")
    np.testing.assert_array_equal(there.values, here.values)
    same(here.table, there.table)
    assert compare_mean_images(roots, executor=executor, working_dir=tmp_path / "work").new_pairs == 0


def test_a_slide_that_ends_while_it_is_read_elsewhere(executor, tmp_path):
    roots = draw_cohort(tmp_path / "data", shape=(96, 128, 8), sizes=(3,), outliers=0, seed=1).roots
    compare_mean_images(roots, working_dir=tmp_path / "work", compute=True, sample_regex="M1_1")
    slide = next(roots[0].glob("M1_2/**/*mean_image.bin"))
    os.truncate(slide, slide.stat().st_size // 2)
    found = compare_mean_images(roots, executor=executor)
    here = compare_mean_images(roots)
    same(here.table, found.table)
    same(here.slides.problems, found.slides.problems)


def test_mean_image_of_fields(executor, tmp_path):
    draw_fields(tmp_path / "in", fields=21, shape=(60, 80, 3), tissue=0.9, seed=2)
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\0 nothing")
    how = {"slide_id": "S1", "exposure_time_ms": 3.7}
    here = make_mean_image(tmp_path / "in", root_dir=tmp_path / "here", **how)
    there = make_mean_image(tmp_path / "in", root_dir=tmp_path / "there", executor=executor, **how)
    same(here.table, there.table)
    assert here.background_threshold == there.background_threshold
    assert bytes_of(tmp_path / "here", but=(".csv", ".json")) == bytes_of(tmp_path / "there", but=(".csv", ".json"))
    assert not list((tmp_path / "there").rglob(".parts-*"))


def test_corrected_images(executor, tmp_path):
    cohort = draw_cohort(tmp_path / "data", shape=(60, 80, 3), sizes=(6,), outliers=0, seed=3)
    slides = compare_mean_images(cohort.roots).slides
    register_model(slides, "1", model_table=tmp_path / "models.csv")
    made = create_model("1", roots=cohort.roots, model_table=tmp_path / "models.csv", out_dir=tmp_path / "out")
    draw_fields(tmp_path / "in", fields=6, shape=(60, 80, 3), seed=4)
    model = next(path for path in made.paths.values() if str(path).endswith(f"flatfield_{made.version}.bin"))
    here = apply_model(model, tmp_path / "in", out_dir=tmp_path / "here")
    there = apply_model(model, tmp_path / "in", out_dir=tmp_path / "there", executor=executor)
    # an OME-TIFF has a number of its own
    for first, second in zip(here.table["output"], there.table["output"], strict=True):
        assert np.array_equal(tifffile.imread(first), tifffile.imread(second))
    assert len(here.table) == 6 and not (here.table["error"] != "").any()


@pytest.mark.parametrize("normalisation", ["global", "dataset"])
def test_tiles(executor, tmp_path, normalisation):
    draw_images(tmp_path / "in")
    (tmp_path / "in" / "images" / "broken.tif").write_bytes(b"II*\0 nothing")
    images = [tmp_path / "in" / "images"]
    how = {"tile_size": 128, "overlap": 32, "normalisation": normalisation}
    here = export_tiles(images, tmp_path / "here", **how)
    there = export_tiles(images, tmp_path / "there", **how, executor=executor)
    assert len(here.table) > 0
    same(here.table.drop(columns="written", errors="ignore"), there.table.drop(columns="written", errors="ignore"))
    same(here.problems, there.problems)
    assert bytes_of(tmp_path / "here", but=(".json",)) == bytes_of(tmp_path / "there", but=(".json",))
    again = export_tiles(images, tmp_path / "there", **how, executor=executor)
    assert again.new_images == 0
    # typed otherwise, it is the same image
    again = export_tiles([os.path.relpath(path) for path in images], tmp_path / "there", **how)
    assert again.new_images == 0


def test_circles(executor, tmp_path):
    draw_acquisitions(tmp_path / "data", dates=("20180401", "20180402"), fields=2, shape=(256, 256), seed=1)
    source = tmp_path / "data" / "acquisitions"
    (next(source.rglob("*.png")).parent / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    here = run_pipeline(source, tmp_path / "here")
    there = run_pipeline(source, tmp_path / "there", executor=executor)
    assert here.circles == there.circles > 0
    assert (tmp_path / "here" / "experiments.csv").read_bytes() == (tmp_path / "there" / "experiments.csv").read_bytes()
    same(*(read_failures(tmp_path / name).drop(columns="When") for name in ("here", "there")))
    assert bytes_of(tmp_path / "here" / "qc") == bytes_of(tmp_path / "there" / "qc")
    again = run_pipeline(source, tmp_path / "there", executor=executor)
    assert set(again.table["state"]) == {"done", "failed"}
    assert len(find_acquisitions(source)) == len(again.table)


def test_statistics_of_patches(executor, tmp_path):
    truth = draw_tile_set(tmp_path / "set", tiles=(2, 3), shape=(128, 160), seed=1)
    tile_set = find_tile_set(truth.folder / "tiles")
    how = {"grid": (8, 8), "statistics": ("common", "texture")}
    here, there = measure_patches(tile_set, **how), measure_patches(tile_set, **how, executor=executor)
    same(here.table, there.table)
    assert np.array_equal(here.shading.surface, there.shading.surface)


def test_epu_session(executor, tmp_path):
    truth = draw_session(tmp_path / "session", seed=1)
    broken = next((tmp_path / "session").rglob("FoilHole_*_Data_*.xml"))
    broken.write_text("<nothing")
    here = read_epu_session(tmp_path / "session")
    there = read_epu_session(tmp_path / "session", executor=executor)
    same(here.table, there.table)
    assert len(here.table) > 0 and truth is not None


BITS = """
import hashlib, sys
import numpy as np
from analysis.flatfield import compare_mean_images
from analysis.texture import find_tile_set, measure_patches
compared = compare_mean_images([sys.argv[1]], workers=1).values
how = {"grid": (4, 4), "statistics": ("common", "texture"), "shading": "none", "workers": 1}
measured = measure_patches(find_tile_set(sys.argv[2]), **how).table.select_dtypes("number").to_numpy()
print(hashlib.sha256(compared.tobytes() + np.ascontiguousarray(measured).tobytes()).hexdigest())
"""


def test_code_just_compiled_and_code_kept_give_the_same_bits(tmp_path):
    root = draw_cohort(tmp_path / "data", shape=(96, 128, 8), sizes=(7,), seed=1).roots[0]
    tiles = draw_tile_set(tmp_path / "set", tiles=(1, 2), shape=(64, 64), seed=1).folder / "tiles"
    line = [sys.executable, "-c", BITS, str(root), str(tiles)]
    fresh = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "numba"), "PYTHONPATH": str(Path(__file__).parents[1])}
    told = [subprocess.run(line, env=fresh, check=True, capture_output=True, text=True).stdout for _ in range(2)]
    assert told[0] == told[1] and len(told[0].strip()) == 64
    assert list((tmp_path / "numba").rglob("*.nbc"))


# ---------------------------------------------------------------------------------------------- the command


def test_commands_take_a_scheduler(cluster, tmp_path, capsys, monkeypatch):
    draw_acquisitions(tmp_path / "data", dates=("20180401",), fields=1, shape=(256, 256), seed=1)
    # workers are elsewhere, so paths that are typed must be made to start at the root
    monkeypatch.chdir(tmp_path)
    line = ["circles", "run", "data/acquisitions", "results", "--json", "--scheduler", cluster.address]
    assert main(line) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["new"] > 0
    assert main(line) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 0
    assert (tmp_path / "results" / "experiments.csv").exists()


def test_command_without_a_scheduler_that_answers(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    line = ["circles", "run", str(tmp_path / "in"), str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:9"]
    assert main(line) == 3
    assert "A scheduler must answer at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert main(["exposures", "duplicates", str(tmp_path / "in"), "--scheduler", "tcp://127.0.0.1:9"]) == 3
    # all that is seen, to the end of the process
    start = "import sys; from dashboards.support.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", start, *line[:-1], "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 2
    assert done.stderr.startswith("The scheduler's address must be like tcp://host:8786; got 'nonsense'")
    assert done.stderr.count("\n") == 1


# ----------------------------------------------------------------------------------------------- trouble


def test_a_worker_is_killed_in_the_middle_of_a_run(fragile, tmp_path):
    draw_acquisitions(tmp_path / "data", dates=("20180401", "20180402"), fields=6, shape=(256, 256), seed=1)
    source = tmp_path / "data" / "acquisitions"
    first = fragile.add_worker(nanny=False)
    with open_scheduler(fragile.address) as executor:

        def look(done, total, words):
            if words == "finding circles" and done == 3 and first.poll() is None:
                fragile.add_worker(nanny=False)
                os.kill(first.pid, signal.SIGKILL)
                first.wait()

        there = run_pipeline(source, tmp_path / "there", executor=executor, progress=look)
    run_pipeline(source, tmp_path / "here")
    assert first.poll() is not None and there.problems.empty
    assert (tmp_path / "here" / "experiments.csv").read_bytes() == (tmp_path / "there" / "experiments.csv").read_bytes()


# ------------------------------------------------------------------------------------------------- the pages


def test_a_page_has_its_work_done_elsewhere(cluster, tmp_path):
    draw_images(tmp_path / "in")
    page = TilesDashboard(
        folder=str(tmp_path / "in" / "images"), working_dir=str(tmp_path / "out"), tile_size=128, overlap=32
    )
    page.scheduler = cluster.address
    asyncio.run(page.export())
    assert page.job.error == "" and len(page.exported.table) > 0
    export_tiles([tmp_path / "in" / "images"], tmp_path / "here", **page.settings)
    assert bytes_of(tmp_path / "here", but=(".json",)) == bytes_of(tmp_path / "out", but=(".json",))
    page.working_dir = "out"
    asyncio.run(page.export())
    assert "Folders must be typed from the root when a scheduler does the work" in page.job.error
    page.param.update(working_dir=str(tmp_path / "out"), scheduler="tcp://127.0.0.1:9")
    asyncio.run(page.export())
    assert "A scheduler must answer at tcp://127.0.0.1:9" in page.job.error and not page.job.busy


def test_texture_is_measured_here_once_the_scheduler_is_taken_out(tmp_path):
    truth = draw_tile_set(tmp_path / "set", tiles=(1, 2), shape=(64, 64), seed=1)

    async def use():
        page = TextureDashboard(grid_rows=4, grid_columns=4, scheduler="nonsense")
        page.folder = str(truth.folder / "tiles")
        while "must be like tcp://host:8786" not in page.job.error:
            await asyncio.sleep(0.05)
        assert page.patches is None
        page.scheduler = ""
        while page.found is None:
            await asyncio.sleep(0.05)
        assert page.job.error == "" and len(page.patches.table) == 32
        page.close()

    asyncio.run(asyncio.wait_for(use(), 60))


class KilledWorker(Exception):
    """As Dask has it."""


class Poisoned(ThreadPoolExecutor):
    """An executor whose workers die of some inputs."""

    def __init__(self, of):
        super().__init__(2)
        self.of = of

    def submit(self, function, job):
        def work(one):
            if self.of in str(one):
                raise KilledWorker("on 4 different workers, but all those workers died while running it")
            return function(one)

        return super().submit(work, job)


def test_an_image_that_kills_its_worker_is_a_failure_and_the_rest_is_done(tmp_path):
    draw_acquisitions(tmp_path / "data", dates=("20180401",), fields=3, shape=(256, 256), seed=1)
    source = tmp_path / "data" / "acquisitions"
    with Poisoned("fov01") as executor:
        run = run_pipeline(source, tmp_path / "out", executor=executor)
    died = run.table[run.table["error"] != ""]
    assert len(died) == (run.table["fov"] == "fov01").sum() > 0
    assert set(died["error"]) == {"every worker that tried it died; it may need more memory than they have."}
    assert len(read_failures(tmp_path / "out")) == len(died)
    assert run.circles > 0
    assert run_pipeline(source, tmp_path / "out").problems.empty


def test_a_file_that_kills_its_worker_is_a_problem_of_each_instrument(tmp_path):
    truth = draw_tile_set(tmp_path / "set", tiles=(1, 3), shape=(64, 64), seed=1)
    draw_images(tmp_path / "in")
    draw_fields(tmp_path / "fields", fields=4, shape=(60, 80, 2), tissue=1.0, seed=2)
    names = sorted(path.name for path in (tmp_path / "in" / "images").iterdir())
    with Poisoned("Tile_001-002") as executor:
        found = measure_patches(find_tile_set(truth.folder / "tiles"), grid=4, shading="none", executor=executor)
        assert len(found.problems) == 1 and "every worker that tried it died" in found.problems["error"][0]
        assert found.table["name"].nunique() == 2
    with Poisoned(names[0]) as executor:
        cut = export_tiles([tmp_path / "in" / "images"], tmp_path / "out", tile_size=128, overlap=32, executor=executor)
        assert len(cut.problems) == 1 and "every worker that tried it died" in cut.problems["error"][0]
        assert len(cut.cuts) == len(names) - 1
