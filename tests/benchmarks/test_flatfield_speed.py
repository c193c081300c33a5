"""How fast slides are compared, against the formula written down plainly; prints ratios.

Run with ``python -m pytest tests/benchmarks -m benchmark -s``. The slides have the true size of a microscope
with 35 layers and take 9 GB of disk while the benchmark runs.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import holoviews as hv
import numpy as np
import pytest

from analysis.flatfield import Comparison, Slide, Slides
from analysis.flatfield._slide_files import write_slide_xml
from analysis.flatfield._slides import make_problems
from analysis.synthetic.flatfield import draw_illumination, filters_of_layers
from dashboards.flatfield import FlatfieldDashboard
from dashboards.support.flatfield_views import draw_matrix

pytestmark = pytest.mark.benchmark

SHAPE = (1004, 1344, 35)
FILTERS_43 = (
    ("DAPI",) * 9
    + ("Opal780",) * 2
    + ("Opal480",) * 6
    + ("Cy5",) * 3
    + ("FITC",) * 9
    + ("Cy3",) * 7
    + ("Texas Red",) * 7
)
MEASURED = """
import json, re, sys, time
from analysis.flatfield import _computation, compare_mean_images
kernel = 0.0
real = _computation.add_pairs
def timed(*args):
    global kernel
    start = time.thread_time()
    real(*args)
    kernel += time.thread_time() - start
compare_mean_images(sys.argv[1], sample_regex="W")  # compiled before the clock starts
_computation.add_pairs = timed
wall, cpu = time.perf_counter(), time.process_time()
found = compare_mean_images(sys.argv[1], sample_regex=sys.argv[2])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
count = len(found.slides) * (len(found.slides) - 1) // 2
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
print(json.dumps(dict(wall=wall, cpu=cpu, kernel=kernel / (count * (1 + 1 / 1318)), pairs=count, peak=peak,
                      values=found.values[0].tolist())))
"""


def write_slides(root, count):
    """Write true-size slides; the mask stack, all alike, is one file under many names."""
    rng = np.random.default_rng(0)
    pattern = draw_illumination(SHAPE, rng)
    mask = np.full(SHAPE, 400, dtype="<u8")
    names = [f"M{i:02d}" for i in range(count)] + ["W1", "W2"]
    for name in names:
        shape = SHAPE if name[0] == "M" else (16, 20, 35)
        folder = root / name / "im3" / "meanimage"
        folder.mkdir(parents=True)
        write_slide_xml(root / name / "im3" / "xml", name, shape, filters_of_layers(35))
        signal = 20 * pattern[: shape[0], : shape[1]]
        error = 0.0125 * signal
        error.tofile(folder / f"{name}-std_err_of_mean_image.bin")
        (signal + error * rng.standard_normal(shape)).tofile(folder / f"{name}-mean_image.bin")
        stack = folder / f"{name}-mask_stack.bin"
        if name[0] == "M" and name != names[0]:
            os.link(root / names[0] / "im3" / "meanimage" / f"{names[0]}-mask_stack.bin", stack)
        else:
            mask[: shape[0], : shape[1]].tofile(stack)
    rows = "".join(f"{i},{name},1,1,1,1,1\n" for i, name in enumerate(names))
    (root / "sampledef.csv").write_text("SampleID,SlideID,Project,Cohort,Scan,BatchID,isGood\n" + rows)
    return names[:count]


def plain_pair(root, first, second):
    """Read and normalise both slides and take the formula layer by layer in plain NumPy."""
    parts = []
    for name in (first, second):
        folder = root / name / "im3" / "meanimage"
        mean = np.fromfile(folder / f"{name}-mean_image.bin").reshape(SHAPE)
        error = np.fromfile(folder / f"{name}-std_err_of_mean_image.bin").reshape(SHAPE)
        weight = np.zeros_like(error)
        np.divide(1.0, error**2, out=weight, where=error != 0)
        norm = np.sum(weight * mean, axis=(0, 1)) / np.sum(weight, axis=(0, 1))
        parts.append((mean / norm, error / norm))
    (m1, s1), (m2, s2) = parts
    d = (m1 - m2) / np.sqrt(s1**2 + s2**2)
    return [d[..., layer][d[..., layer] != 0].std() for layer in range(SHAPE[2])]


def run(root, pattern):
    out = subprocess.run([sys.executable, "-c", MEASURED, root, pattern], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def test_all_pairs_against_the_plain_formula(tmp_path, capsys):
    names = write_slides(tmp_path, 12)
    six = [(a, b) for i, a in enumerate(names[:6]) for b in names[:i]]
    run(tmp_path, "M0[0-5]$")  # compiles, and brings the files into memory for both
    ours = run(tmp_path, "M0[0-5]$")
    wall, cpu = time.perf_counter(), time.process_time()
    plain = {pair: plain_pair(tmp_path, *pair) for pair in six}
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    twelve = run(tmp_path, "M")
    first = [plain[(names[i], names[0])] for i in range(1, 6)]
    assert np.array(ours["values"])[1:] == pytest.approx(np.array(first), rel=1e-9)
    rows = [
        ("all pairs of 6 slides, wall", f"{wall:.1f} s", f"{ours['wall']:.2f} s", wall / ours["wall"], "15"),
        ("all pairs of 6 slides, CPU", f"{cpu:.1f} s", f"{ours['cpu']:.2f} s", cpu / ours["cpu"], ""),
        ("one added pair, CPU", f"{cpu / 15:.2f} s", f"{ours['kernel']:.4f} s", cpu / 15 / ours["kernel"], "60"),
    ]
    with capsys.disabled():
        print(f"\n{'':32}{'plain':>10}{'here':>12}{'ratio':>8}{'wanted':>8}")
        for name, before, after, ratio, wanted in rows:
            print(f"{name:32}{before:>10}{after:>12}{ratio:8.1f}{wanted:>8}")
        peaks = " and ".join(f"{result['peak'] / 1e9:.2f} GB" for result in (ours, twelve))
        print(f"peak memory of 6 and of 12 slides: {peaks} (wanted: 1.2)")
        for result in (ours, twelve):
            print(
                f"{result['pairs']} pairs: {result['wall'] / result['pairs']:.3f} s wall and "
                f"{result['cpu'] / result['pairs']:.3f} s CPU a pair"
            )


def test_changes_that_only_draw(capsys):
    """What Python does for a change of bounds, lines, layers or threshold on 200 slides of 43 layers."""
    slides, layers = 200, 43
    rng = np.random.default_rng(0)
    members = tuple(
        Slide(
            Path("/nowhere"),
            f"M{i:03d}",
            1 + i // 50,
            1,
            1 + i // 10,
            (1004, 1344, layers),
            FILTERS_43,
            Path("/nowhere"),
        )
        for i in range(slides)
    )
    values = 1 + 0.01 * rng.standard_normal((slides, slides, layers))
    values[:100, 100:] += 0.1
    values = (values + values.transpose(1, 0, 2)) / 2
    values[range(slides), range(slides)] = np.nan
    comparison = Comparison(Slides(members, make_problems([])), values, np.zeros(values.shape, dtype=np.int32))
    dashboard = FlatfieldDashboard()
    dashboard.result = comparison
    matrix = hv.render(draw_matrix(dashboard))
    assert matrix is not None
    changes = {
        "bounds": lambda i: setattr(dashboard, "bounds", (0.8 + 0.01 * i, 1.2)),
        "lines": lambda i: setattr(dashboard, "lines", ("none", "project-cohort-batch")[i % 2]),
        "layers": lambda i: setattr(dashboard, "layers", ("DAPI", "all", "Cy5", "brightest")[i % 4]),
        "order": lambda i: setattr(dashboard, "sort_by", ("order", "likeness", "project-cohort-batch")[i % 3]),
        "threshold": lambda i: setattr(dashboard, "threshold", 0.05 + 0.01 * i),
    }
    shown = hv.DynamicMap(
        lambda **_: draw_matrix(dashboard),
        streams=[hv.streams.Params(dashboard, ["result", "groups", "layers", "bounds", "sort_by", "lines"])],
    )
    hv.renderer("bokeh").get_plot(shown)
    with capsys.disabled():
        print("\n200 slides of 43 layers, CPU seconds for a change, median and largest of 8 (wanted: 0.100)")
        for name, change in changes.items():
            spent = []
            for i in range(8):
                start = time.process_time()
                change(i)
                spent.append(time.process_time() - start)
            print(f"{name:12}{np.median(spent):8.3f}{max(spent):8.3f}")
