"""Work on a real Dask scheduler and its workers: the same tables, and nothing lost when a part of it dies."""

import functools
import os
import platform
import resource
import signal
import threading
import time

import numpy as np
import pytest

from analysis import scheduler
from analysis.scheduler import open_scheduler
from analysis.tasks import Cancelled, SchedulerLost, map_tasks

Future = pytest.importorskip("distributed", reason="dask.distributed is not installed").Future


def triple(number):
    time.sleep(0.05)
    if number == 13:
        raise ValueError(f"{number} is unlucky.")
    return 3 * number, os.getpid()


def sleepy(number):
    time.sleep(0.2)
    return number


def die_at_seven(number):
    time.sleep(0.05)
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


# ------------------------------------------------------------------------------------------------ the loop


def test_results_come_in_order_from_several_processes(cluster):
    seen = []
    with open_scheduler(cluster.address, paths=[cluster.folder]) as executor:
        assert executor.width >= 1
        done = list(
            map_tasks(triple, range(40), executor=executor, progress=lambda *step: seen.append(step), words="x")
        )
    assert [number for number, *_ in done] == list(range(40))
    assert [result[0] for number, result, _ in done if number != 13] == [3 * n for n in range(40) if n != 13]
    assert str(done[13][2]) == "13 is unlucky." and sum(error is not None for *_, error in done) == 1
    pids = {result[1] for _, result, error in done if error is None}
    assert len(pids) == 2 and os.getpid() not in pids
    assert seen[-1] == (40, 40, "x") and len(seen) == 40


def test_cancel_is_heard_and_the_cluster_is_free_again(cluster):
    cancel, taken = threading.Event(), []
    with open_scheduler(cluster.address) as executor:
        with pytest.raises(Cancelled, match="finished work is kept"):
            for number, *_ in map_tasks(sleepy, range(500), executor=executor, cancel=cancel):
                taken.append(number)
                cancel.set()
        start = time.monotonic()
        assert [result for _, result, _ in map_tasks(sleepy, range(2), executor=executor)] == [0, 1]
    assert taken == [0] and time.monotonic() - start < 20


def test_nobody_there():
    lost = pytest.raises(SchedulerLost, match=r"A scheduler must answer at tcp://127.0.0.1:9; nobody did within 1 s")
    with lost, open_scheduler("tcp://127.0.0.1:9", timeout_s=1):
        pass
    wrong = pytest.raises(ValueError, match="The scheduler's address must be like tcp://host:8786; got 'nonsense'")
    with wrong, open_scheduler("nonsense", timeout_s=1):
        pass
    with open_scheduler(None) as executor:
        assert executor is None


def test_no_worker_is_said(fragile):
    lost = pytest.raises(SchedulerLost, match="must have at least one worker; none came within 1 s")
    with lost, open_scheduler(fragile.address, timeout_s=1):
        pass


def test_a_worker_that_does_not_see_the_data_is_said(cluster, tmp_path, monkeypatch):
    # as if it were here
    monkeypatch.setattr(scheduler, "_nearest", str)
    monkeypatch.setattr(scheduler, "_number", lambda path: 12345)
    blind = pytest.raises(ValueError, match=r"Every worker must see the same files; tcp://.* has no .*/nowhere\.")
    with blind, open_scheduler(cluster.address, paths=[tmp_path / "nowhere"]):
        pass


def test_a_worker_with_a_folder_of_its_own_under_the_same_name_is_said(cluster, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(scheduler, "_number", lambda path: 12345)
    other = pytest.raises(ValueError, match=r"must see the same files; tcp://.* has another .*/out of its own\.")
    with other, open_scheduler(cluster.address, paths=[tmp_path / "out" / "new" / "one"]):
        pass
    # numbers may differ where the files are the same
    (tmp_path / "out" / "image.png").touch()
    with open_scheduler(cluster.address, paths=[tmp_path / "out", tmp_path / "out" / "image.png"]) as executor:
        assert executor.width == 2


def add_first(large, number):
    time.sleep(0.05)
    return large[0] + number, os.getpid()


def test_what_is_large_travels_once_and_is_made_again_where_workers_die(fragile):
    first = fragile.add_worker(nanny=False)
    work = functools.partial(add_first, np.full(2_000_000, 5.0))
    with open_scheduler(fragile.address) as executor:
        sent, done = [], []
        submit = executor._tasks.submit
        executor._tasks.submit = lambda *args: sent.append(args) or submit(*args)
        for number, result, error in map_tasks(work, range(30), executor=executor):
            assert error is None and result[0] == 5 + number
            done.append(result[1])
            if number == 3:
                first.kill()
                fragile.add_worker(nanny=False)
    assert len(set(done)) == 2 and len(sent) == 30
    assert all(isinstance(held, Future) for _, held, _ in sent) and len({held.key for _, held, _ in sent}) == 1


def faults(_):
    """Page faults while an array is filled again and again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(1_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, os.environ.get("MALLOC_TRIM_THRESHOLD_")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="not the GNU C library")
def test_workers_use_their_memory_again(cluster):
    with open_scheduler(cluster.address) as executor:
        asked_again, threshold = next(map_tasks(faults, [0], executor=executor))[1]
    # 8 MB are about 2 000 pages, and 20 times as many where each array is new memory
    assert threshold == "65536" and asked_again < 10_000


# ------------------------------------------------------------------------------------------------ trouble


def test_a_worker_dies_and_another_joins_late(fragile):
    first = fragile.add_worker(nanny=False)
    done = []
    with open_scheduler(fragile.address) as executor:
        for number, result, error in map_tasks(sleepy, range(30), executor=executor):
            assert error is None and result == number
            done.append(number)
            if number == 3:
                fragile.add_worker(nanny=False)
            if number == 10:
                first.kill()
    assert done == list(range(30))


def test_an_input_that_kills_its_worker_is_reported_and_the_rest_done(fragile):
    for _ in range(2):
        fragile.add_worker()  # a nanny starts the next one
    with open_scheduler(fragile.address) as executor:
        done = list(map_tasks(die_at_seven, range(20), executor=executor))
    assert [result for number, result, _ in done if number != 7] == [n for n in range(20) if n != 7]
    assert str(done[7][2]) == "every worker that tried it died; it may need more memory than they have."


def test_a_scheduler_that_goes_away_ends_the_loop(fragile):
    fragile.add_worker()
    with pytest.raises(SchedulerLost, match="Run this again"), open_scheduler(fragile.address) as executor:
        for number, *_ in map_tasks(sleepy, range(100), executor=executor):
            if number == 2:
                fragile.scheduler.kill()


def test_all_workers_gone_ends_the_loop(fragile):
    worker = fragile.add_worker(nanny=False)
    with (
        pytest.raises(SchedulerLost, match="it has had none for 3 s"),
        open_scheduler(fragile.address, patience_s=3) as executor,
    ):
        for number, *_ in map_tasks(sleepy, range(100), executor=executor):
            if number == 2:
                worker.kill()
