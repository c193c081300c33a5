"""What benchmarks of the pages share: the sample data served, and clocks that run in the browser."""

from __future__ import annotations

import os
import re
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Moved:
    """The control of a page that is moved, and between which values."""

    label: str
    between: tuple[float, float]


MOVED = {
    "flatfield": Moved("Threshold", (0.02, 0.2)),
    "tiles": Moved("Overlap", (8, 60)),
    "circles": Moved("Strictness", (0.3, 0.7)),
    "exposures": Moved("Radius", (0.1, 0.6)),
    "texture": Moved("Clusters", (2, 8)),
}

CLOCK = """
(() => {
    const all = () => (window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])
    const figures = () => all().filter(model => model.type == 'Figure')
    // the moment at which a picture with data has been drawn
    const look = () => {
        const drawn = figures().some(f => f.renderers.some(r => r.data_source?.get_length?.() > 0))
        const loader = document.getElementById('loader')
        const idle = window.Bokeh?.index?.roots?.[0]?.is_idle && loader?.style.display == 'none'
        if (drawn && idle) {
            requestAnimationFrame(() => { window.first_picture_ms = performance.now() })
        } else {
            requestAnimationFrame(look)
        }
    }
    look()
    window.slider_named = label => all().find(m => m.class_name?.includes('Slider') && m.data.label?.startsWith(label))
    // set a slider as a hand does, and wait until a picture was drawn anew
    window.move = (label, value, patience_ms) => new Promise(resolve => {
        const parts = new Set(figures().flatMap(figure => [...figure.references()]))
        const slider = window.slider_named(label).data
        const documents = window.Bokeh.documents
        const start = performance.now()
        const end = ms => { documents.forEach(one => one.remove_on_change(changed)); clearTimeout(late); resolve(ms) }
        const changed = event => {
            if (parts.has(event.model)) { requestAnimationFrame(() => end(performance.now() - start)) }
        }
        const late = setTimeout(() => end(NaN), patience_ms)
        documents.forEach(one => one.on_change(changed))
        slider.setv({value, value_throttled: value})
    })
})()
"""


def serve_demo(start_server, folder: Path) -> Iterator[Any]:
    """Serve the sample data from a process of its own, warm; at the end its log must hold no error.

    Parameters
    ----------
    start_server
        The fixture.
    folder
        Where the sample data are drawn.
    """
    call = "from dashboards.support.command import main; raise SystemExit(main())"
    command = [sys.executable, "-c", call, "serve", "--demo", "--dir", str(folder / "demo"), "--port", "0"]
    started = start_server(folder, {}, command)
    server = next(started)
    for name in MOVED:
        urllib.request.urlopen(f"{server.address}/{name}", timeout=120).close()  # all that is imported, is
    yield server
    yield from started


def memory_mb(process: int) -> float:
    """Memory that a process has in use."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024


def cpu_s(process: int) -> float:
    """Seconds of the processor that a process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(values: list[float]) -> str:
    """Median, 95th percentile and largest of milliseconds."""
    known = np.array(values)[~np.isnan(values)]
    lost = len(values) - len(known)
    if not len(known):
        return f"no answer in {lost} tries"
    half, most, last = np.percentile(known, [50, 95, 100])
    return f"{half:5.0f}  {most:5.0f}  {last:5.0f} ms (n = {len(known)}{f', {lost} without an answer' if lost else ''})"
