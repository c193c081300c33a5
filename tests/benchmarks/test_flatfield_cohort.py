"""A cohort of 150 slides at true size: what is read, what is held, in which order, and what it would take.

Run with ``python -m pytest tests/benchmarks/test_flatfield_cohort.py -m benchmark -s``. The 450 files have their true
size, 209 GB, and hold nothing: they are sparse and take no space. Bytes are really read from them by the real reader,
which gives zeros; a small repeating pattern is added to those, since a mean image of zeros is none. The first test
counts the reads of the whole comparison, with reading and arithmetic left out; the second reads and does the true
arithmetic of a few stretches, in a process of its own.
"""

import json
import os
import pickle
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from analysis.flatfield import _blocks, _computation, compare_mean_images
from analysis.flatfield._slide_files import write_slide_xml
from analysis.synthetic.flatfield import filters_of_layers

pytestmark = pytest.mark.benchmark

SLIDES, SHAPE = 150, (1004, 1344, 43)
VALUES = SHAPE[0] * SHAPE[1] * SHAPE[2]
PAIRS = SLIDES * (SLIDES - 1) // 2
KINDS = ("mean_image", "std_err_of_mean_image", "mask_stack")
STRETCHES = 4
MEASURED = """
import json, re, sys, threading, time
import numpy as np
from analysis.flatfield import _blocks, _computation, compare_mean_images, find_slides
from analysis.tasks import Cancelled

real_read, real_add, real_stretch = _blocks.read_block, _computation.add_pairs, _computation._add_stretch
pattern = 0.25 * np.random.default_rng(0).standard_normal((8192, 43))
spent, lock, times = {"read": 0.0, "fill": 0.0, "pairs": 0.0}, threading.Lock(), []

def add(name, seconds):
    with lock:
        spent[name] += seconds

def read_block(path, first, out):
    start = time.thread_time()
    real_read(path, first, out)
    read = time.thread_time()
    if "mask" in path.name:
        out += 400
    elif "std_err" in path.name:
        out += 0.25
    else:
        # every slide has its own piece of the noise
        at = int(path.name[1:4]) * 27
        out += 20 + pattern[at : at + len(out)]
    add("read", read - start)
    add("fill", time.thread_time() - read)

def add_pairs(*args):
    start = time.thread_time()
    real_add(*args)
    add("pairs", time.thread_time() - start)

def add_stretch(reader, pairs, shift, blocks):
    with lock:
        if "all" not in spent:
            # what came before was the survey and the first block
            spent.update(dict.fromkeys(spent, 0.0))
        spent["all"] = 1.0
    start, cpu = time.perf_counter(), time.thread_time()
    done = real_stretch(reader, pairs, shift, blocks)
    times.append((time.perf_counter() - start, time.thread_time() - cpu, len(blocks)))
    return done

_blocks.read_block = read_block
slides = find_slides(sys.argv[1])
_blocks.survey_slide(find_slides(sys.argv[2]).slides[0])  # compiles
before, cpu = dict(spent), time.thread_time()
survey = _blocks.survey_slide(slides.slides[0])
cpu = time.thread_time() - cpu - (spent["fill"] - before["fill"])
_computation.survey_slide = lambda slide: survey
_computation.add_pairs, _computation._add_stretch = add_pairs, add_stretch
cancel = threading.Event()
def look(done, total, words):
    if words.startswith("comparing") and done == int(sys.argv[3]):
        cancel.set()
try:
    compare_mean_images(sys.argv[1], workers=2, progress=look, cancel=cancel)
except Cancelled:
    pass
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
print(json.dumps(dict(survey=cpu, stretches=times, spent=spent, peak=peak)))
"""


def write_empty_slides(root, names, shape):
    """Write slides whose files have their size and nothing in them."""
    for name in names:
        folder = root / name / "im3" / "meanimage"
        folder.mkdir(parents=True)
        write_slide_xml(root / name / "im3" / "xml", name, shape, filters_of_layers(shape[2]))
        for kind in KINDS:
            with open(folder / f"{name}-{kind}.bin", "wb") as handle:
                handle.truncate(shape[0] * shape[1] * shape[2] * 8)
    rows = "".join(f"{i},{name},1,1,1,1,1\n" for i, name in enumerate(names))
    (root / "sampledef.csv").write_text("SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\n" + rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    write_empty_slides(folder, [f"M{i:03d}" for i in range(SLIDES)], SHAPE)
    held = sum(path.stat().st_blocks * 512 for path in folder.rglob("*.bin"))
    size = sum(path.stat().st_size for path in folder.rglob("*.bin"))
    assert size == SLIDES * 3 * VALUES * 8 and held < 50e6
    return folder


@pytest.fixture
def reads(monkeypatch):
    """Leave the arithmetic out, and note every read as (first value, values) by file; blocks and tasks too."""
    noted = {"reads": defaultdict(list), "stretches": [], "task": 0}

    def read_block(path, first, out):
        noted["reads"][path.name].append((first, out.size))

    def survey_block(mean, error, mask, weights, weighted, uncovered, stacked):
        weights += 1
        weighted += 20
        stacked += 400 * len(mean)

    real = _computation._add_stretch

    def add_stretch(reader, pairs, shift, blocks):
        noted["stretches"].append((len(pairs), tuple(blocks)))
        if not noted["task"]:
            noted["task"] = len(pickle.dumps((reader, pairs, shift)))
        return real(reader, pairs, shift, blocks)

    monkeypatch.setattr(_blocks, "read_block", read_block)
    monkeypatch.setattr(_blocks, "survey_block", survey_block)
    monkeypatch.setattr(_blocks, "normalise_block", lambda *args: True)
    monkeypatch.setattr(_computation, "add_pairs", lambda *args: None)
    monkeypatch.setattr(_computation, "_add_stretch", add_stretch)
    return noted


def times_read(spans):
    """Return how often each value of a file is read; all alike, or it fails."""
    changes = defaultdict(int)
    for first, count in spans:
        changes[first] += 1
        changes[first + count] -= 1
    places = sorted(changes)
    assert places[0] == 0 and places[-1] == VALUES
    depth, found = 0, set()
    for place in places[:-1]:
        depth += changes[place]
        found.add(depth)
    assert len(found) == 1, found
    return found.pop()


class Wide(ThreadPoolExecutor):
    """What the comparison sees of a hundred workers."""

    width = 100


def test_every_file_is_read_once_for_the_survey_and_once_for_all_pairs(root, reads, tmp_path, capsys):
    surveyed = {}
    real = _computation.compute_unknown

    def noting(*args):
        surveyed.update(reads["reads"])
        reads["reads"] = defaultdict(list)
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.flatfield._comparison.compute_unknown", noting)
        found = compare_mean_images(root, workers=2)
    assert found.new_pairs == PAIRS and len(found.slides) == SLIDES
    assert len(surveyed) == 3 * SLIDES and {times_read(spans) for spans in surveyed.values()} == {1}
    assert len(reads["reads"]) == 2 * SLIDES, "masks are not read again where every pixel is covered"
    stretches = reads["stretches"]
    length = stretches[0][1][0][1] * SHAPE[2]
    # the first block is read once more before, for the shift
    compared = [sorted(spans)[1:] for spans in reads["reads"].values() if sorted(spans)[:2] == [(0, length)] * 2]
    assert len(compared) == 2 * SLIDES and {times_read(spans) for spans in compared} == {1}
    blocks = sorted(block for _, part in stretches for block in part)
    ends = [first + count for first, count in blocks]
    assert [first for first, _ in blocks] == [0, *ends[:-1]] and ends[-1] == SHAPE[0] * SHAPE[1]
    assert all(list(part) == sorted(part) for _, part in stretches)
    bytes_compared = sum(count for spans in reads["reads"].values() for _, count in spans) * 8
    sums = PAIRS * 3 * SHAPE[2] * 8

    told = []
    for memory in (1.0, 4.0):
        reads["reads"], reads["stretches"] = defaultdict(list), []
        with Wide(8) as executor:
            compare_mean_images(root, executor=executor, memory_gb=memory)
        again = sum(count for name, spans in reads["reads"].items() if "mask" not in name for _, count in spans) * 8
        again -= SLIDES * 2 * VALUES * 8  # the survey
        told.append((memory, again / (SLIDES * 2 * VALUES * 8), len(reads["stretches"])))
    assert round(told[1][1]) == 1
    task, everything, once = reads["task"] / 1e6, 3 * SLIDES * VALUES * 8 / 1e9, bytes_compared / 1e9
    with capsys.disabled():
        print(f"\n{SLIDES} slides of {SHAPE}, {PAIRS} pairs, {everything:.0f} GB of files")
        print(f"  survey: {SLIDES} tasks, {everything:.0f} GB read, each byte once in a slide's life")
        print(f"  comparison: {len(blocks)} blocks of {blocks[0][1]} pixels, {length * 8 / 1e3:.0f} kB of each file")
        print(f"  {len(stretches)} stretches; {once:.0f} GB of mean images and errors read, each byte once a run")
        print(f"  a stretch: {once / len(stretches):.2f} GB read; {task:.1f} MB go out, {sums / 1e6:.1f} MB come back")
        for memory, often, tasks in told:
            print(f"  100 workers with --memory-gb {memory:g}: {tasks} stretches; files read {often:.2f} times")


def test_a_few_stretches_in_full_and_what_all_would_take(root, tmp_path, capsys):
    write_empty_slides(tmp_path, ["M000", "M001"], (16, 20, 43))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", MEASURED, str(root), str(tmp_path), str(STRETCHES)]
    said = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["peak"] < 2e9 and len(found["stretches"]) >= STRETCHES
    wall, cpu, blocks = np.array(found["stretches"]).T
    a_block = cpu.sum() / blocks.sum()
    spent = {name: seconds / blocks.sum() for name, seconds in found["spent"].items()}
    a_block -= spent["fill"]
    rest = a_block - spent["read"] - spent["pairs"]
    blocks_in_all = -(-SHAPE[0] * SHAPE[1] // 1024)
    stretches, longest = -(-blocks_in_all // int(blocks.max())), a_block * blocks.max()
    whole = a_block * blocks_in_all
    read = 2 * SLIDES * VALUES * 8
    parts = ", ".join(f"{name} {1000 * seconds:.0f}" for name, seconds in spent.items() if name in ("read", "pairs"))
    with capsys.disabled():
        print(f"\ntwo threads, {len(cpu)} of {stretches} stretches in full; peak memory {found['peak'] / 1e9:.2f} GB")
        print(
            f"  CPU: a survey {found['survey']:.2f} s; a stretch {longest:.1f} s, {np.median(wall):.1f} s on the clock"
        )
        print(f"  a block: {1000 * a_block:.0f} ms of CPU, of which {parts}, normalise {1000 * rest:.0f}")
        print("projection, if every worker has a core like these, and nothing else is slow:")
        print(f"  CPU: {whole:.0f} s in all; survey {SLIDES * found['survey']:.0f} s once")
        for workers in (1, 2, 8, 60, 100):
            rounds = -(-stretches // workers)
            asked = read / 1e9 / (rounds * longest)
            print(
                f"  {workers:4} workers: {rounds} rounds, {rounds * longest:.0f} s; storage must give {asked:.1f} GB/s"
            )
        for rate in (0.1, 1, 10):
            least = read / 1e9 / rate
            print(f"  storage of {rate:g} GB/s for all: not less than {least:.0f} s; survey {1.5 * least:.0f} s, once")
