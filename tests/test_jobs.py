"""Long work on a page: progress, cancel, sentences, and the latest wish wins."""

import asyncio
import threading
import time

from analysis.tasks import Cancelled
from dashboards.support.jobs import Job, gently
from dashboards.support.statement import Name, python_call, shell_line


def slow(steps, *, progress, cancel):
    for step in range(steps):
        if cancel.wait(0.01):
            raise Cancelled(f"Stopped after {step} of {steps}.")
        progress(step + 1, steps, "counting")
    return steps


def test_result_and_progress():
    job, shares = Job(), []
    job.param.watch(lambda event: shares.append(event.new), "share")
    assert asyncio.run(job.run("Counting", slow, 5)) == 5
    assert not job.busy and job.error == "" and shares[:2] == [20, 40]


def test_cancel_ends_soon_and_says_where():
    async def cancelled():
        job = Job()
        running = asyncio.ensure_future(job.run("Counting", slow, 1000))
        await asyncio.sleep(0.05)
        assert job.busy
        job.cancel()
        return job, await running

    job, result = asyncio.run(cancelled())
    assert result is None and not job.busy
    assert job.words.startswith("Stopped after") and job.error == ""


def test_a_new_job_overtakes_the_old_one():
    async def overtaken():
        job = Job()
        first = asyncio.ensure_future(job.run("First", slow, 1000))
        await asyncio.sleep(0.03)
        return job, await job.run("Second", slow, 2), await first

    job, second, first = asyncio.run(overtaken())
    assert (first, second) == (None, 2)
    assert not job.busy


def test_failures_become_sentences():
    def fail(error):
        def work(*, progress, cancel):
            raise error

        return work

    job = Job()
    for error, sentence in (
        (ValueError("x must be 1; got 2."), "x must be 1; got 2."),
        (PermissionError(13, "Permission denied", "/data/a.bin"), "/data/a.bin: Permission denied."),
        (KeyError("oops"), "KeyError: 'oops' (a fault of the program; see the log)."),
    ):
        assert asyncio.run(job.run("Failing", fail(error))) is None
        assert job.error == sentence and not job.busy


def test_work_runs_outside_the_event_loop():
    threads = []

    def work(*, progress, cancel):
        threads.append(threading.current_thread())

    asyncio.run(Job().run("Looking", work))
    assert threads[0] is not threading.main_thread()


def test_settings_as_text():
    def compare(roots, *, regex=None, gb=1.0): ...

    text = python_call(compare, ["a b", "it's"], {"regex": "M\\d", "gb": 1.0, "other": 3}, result="c")
    assert text == """c = compare(['a b', "it's"], regex='M\\\\d')"""
    long = python_call(compare, [f"/data/{i}" for i in range(12)], {"regex": "M"}, result="c")
    names = {"compare": lambda roots, **settings: (roots, settings)}
    exec(long, names)
    assert names["c"] == ([f"/data/{i}" for i in range(12)], {"regex": "M"})
    assert python_call(compare, Name("roots"), {}, result="c") == "c = compare(roots)"
    line = shell_line(
        "do", ["my data"], {"regex": "-x $HOME", "none": None, "flag": True, "of": ("a", "b"), "no": False}
    )
    assert line == "do 'my data' --regex='-x $HOME' --flag --of a,b"


def test_widgets_are_refreshed_at_once_and_then_gently():
    seen = []

    async def often():
        state = {"value": 0}
        refresh, begun = gently(lambda *_: seen.append(state["value"])), time.monotonic()
        for value in range(1, 20):
            state["value"] = value
            refresh()
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - begun
        while seen[-1] != 19:
            await asyncio.sleep(0.01)
        return took_s

    took_s = asyncio.run(asyncio.wait_for(often(), 30))
    assert seen[0] == 1 and len(seen) <= 2 + took_s / 0.3
    gently(lambda *_: seen.append("no loop"))()
    assert seen[-1] == "no loop"
