"""How fast sessions are read, against only reading the bytes of the same files; prints seconds and ratios.

Run with ``python -m pytest tests/benchmarks/test_exposures_speed.py -m benchmark -s``. The files have the size and
the markup of a microscope's, 12 kB each; the largest session takes 800 MB of disk while the benchmark runs.
"""

import os
import time

import numpy as np
import pytest

from analysis.exposures import read_epu_session
from analysis.synthetic.exposures import draw_session

pytestmark = pytest.mark.benchmark

SESSIONS = {1_000: (1, 37), 10_000: (10, 37), 50_000: (50, 37)}
"""Files: grid squares, and stage positions of 9 holes with 3 shots in each of them."""


def spent(work, repeats):
    """Median CPU seconds of a task."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def list_files(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".xml"):
                yield os.path.join(place, name)


def read_bytes(folder):
    for path in list_files(folder):
        handle = os.open(path, os.O_RDONLY)
        os.read(handle, 16_384)
        os.close(handle)


def read_plainly(folder):
    for path in list_files(folder):
        with open(path, "rb") as handle:
            handle.read()


def test_reading_against_the_bytes(tmp_path, capsys):
    rows = []
    for files, (squares, positions) in SESSIONS.items():
        folder = tmp_path / str(files)
        drawn = draw_session(folder, grid_squares=squares, stage_positions=positions, padding_bytes=12_000, seed=1)
        known = read_epu_session(folder)  # also brings the files into memory for all
        assert len(known.exposures) == len(drawn.session)
        repeats = 9 if files < 5_000 else 3
        rows.append((
            len(known),
            spent(lambda folder=folder: read_bytes(folder), repeats),
            spent(lambda folder=folder: read_plainly(folder), repeats),
            spent(lambda folder=folder: read_epu_session(folder), repeats),
            spent(lambda folder=folder, known=known: read_epu_session(folder, known=known), repeats),
        ))  # fmt: skip
    with capsys.disabled():
        print("\nCPU seconds; ratios to finding the same files and os.read or open().read() (wanted: below 5)")
        print(f"{'files':>8}{'os.read':>10}{'open':>10}{'session':>10}{'ratio':>8}{'ratio':>8}{'re-scan':>10}")
        for files, low, plain, session, again in rows:
            ratios = f"{session / low:8.2f}{session / plain:8.2f}"
            print(f"{files:8}{low:10.3f}{plain:10.3f}{session:10.3f}{ratios}{again:10.3f}")
