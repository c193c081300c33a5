"""What a Dask scheduler costs and gives: the same work here, on one worker and on two; prints seconds and ratios.

Run with ``python -m pytest tests/benchmarks/test_scheduler_speed.py -m benchmark -s`` on a machine with two free cores.
"Here" is one process with one thread or two, and then one process of a pool or two, as a worker is a process too.
"""

import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from analysis.circles import run_pipeline
from analysis.flatfield import compare_mean_images
from analysis.scheduler import open_scheduler
from analysis.synthetic.circles import draw_acquisitions
from analysis.synthetic.flatfield import draw_cohort

pytest.importorskip("distributed", reason="dask.distributed is not installed")
pytestmark = pytest.mark.benchmark
TURNS = 2


def wall_s(function, turns=TURNS):
    best = float("inf")
    for turn in range(turns):
        start = time.perf_counter()
        function(turn)
        best = min(best, time.perf_counter() - start)
    return best


def measure(work, tmp_path, start_cluster):
    """Seconds by (where, how many at once); ``work(name, **how)`` does everything anew."""
    found = {}
    for count in (1, 2):
        found["threads", count] = wall_s(lambda turn, n=count: work(f"threads{n}_{turn}", workers=n))
        with ProcessPoolExecutor(count) as pool:
            list(pool.map(abs, range(2 * count)))
            work(f"warm{count}", executor=pool)
            found["processes", count] = wall_s(lambda turn, n=count, p=pool: work(f"pool{n}_{turn}", executor=p))
        (tmp_path / f"cluster{count}").mkdir()
        cluster = start_cluster(tmp_path / f"cluster{count}")
        try:
            for _ in range(count):
                cluster.add_worker()
            with open_scheduler(cluster.address, timeout_s=60) as executor:
                while executor.width < count:
                    time.sleep(0.5)
                work(f"warmdask{count}", executor=executor)
                found["dask", count] = wall_s(lambda turn, n=count, e=executor: work(f"dask{n}_{turn}", executor=e))
        finally:
            cluster.stop()
    return found


def tell(name, found, capsys):
    with capsys.disabled():
        print(f"\n{name}: seconds on the clock, best of {TURNS}")
        for where in ("threads", "processes", "dask"):
            one, two = found[where, 1], found[where, 2]
            print(f"  {where:9} 1: {one:6.2f}  2: {two:6.2f}  from 1 to 2: x{one / two:.2f} (wanted of dask: 1.7)")
        for count in (1, 2):
            over = found["dask", count] / min(found["threads", count], found["processes", count]) - 1
            said = f"{count} at once: {100 * over:+.0f} % (wanted: below 15)"
            print(f"  dask against the better of threads and processes, {said}")


def test_two_hundred_fields(tmp_path, start_cluster, capsys):
    draw_acquisitions(
        tmp_path / "data", dates=[f"201804{day:02d}" for day in range(1, 11)], experiments=("e1", "e2"), fields=5,
        shape=(1024, 1024), seed=1,
    )  # fmt: skip
    source = tmp_path / "data" / "acquisitions"
    assert len(list(source.rglob("*.png"))) == 200

    def work(name, **how):
        assert run_pipeline(source, tmp_path / name, **how).images == 200

    tell("200 fields of 1024 x 1024 through circles", measure(work, tmp_path, start_cluster), capsys)


def test_forty_slides(tmp_path, start_cluster, capsys):
    roots = draw_cohort(tmp_path / "data", shape=(502, 672, 20), sizes=(20, 20), outliers=0, seed=1).roots

    def work(name, **how):
        assert compare_mean_images(roots, **how).unknown_pairs == 0

    tell("40 slides of 502 x 672 x 20, all pairs", measure(work, tmp_path, start_cluster), capsys)
