"""What measurements of the served pages share: data served, a clock in the browser, visitors without a browser."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from asking import ask, open_socket, token_of


@dataclass(frozen=True)
class Control:
    """A slider of a page, and values it is moved to; a picture on the tab that is open follows it."""

    label: str
    values: tuple[Any, ...]


CONTROLS = {
    "flatfield": Control("Colour bounds", tuple([0.8 + step / 100, 1.2 - step / 100] for step in range(12))),
    "tiles": Control("Overlap (px)", tuple(range(32, 152, 10))),
    # another strictness finds the same circles in clear images, and then nothing is drawn anew
    "circles": Control("Contrast", tuple([float(step), 100.0 - step] for step in range(1, 13))),
    "exposures": Control("Radius (µm)", tuple(0.2 + step / 40 for step in range(12))),
    "texture": Control("Clusters", (2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3)),
}

CLOCK = """
(() => {
    const all = () => (window.Bokeh?.documents ?? []).flatMap(one => [...one._all_models.values()])
    const figures = () => all().filter(model => model.type == 'Figure')
    const painted = () => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))
    // the moment at which a picture with data stands on the page
    const look = () => {
        const drawn = figures().some(f => f.renderers.some(r => r.data_source?.get_length?.() > 0))
        const loader = document.getElementById('loader')
        if (drawn && loader?.style.display == 'none') {
            painted().then(() => { window.first_picture_ms = performance.now() })
        } else {
            requestAnimationFrame(look)
        }
    }
    look()
    // move a slider, and wait until a picture was drawn anew
    window.move = (label, value, patience_ms) => new Promise(resolve => {
        const parts = new Set(figures().flatMap(figure => [...figure.references()]))
        const slider = all().find(m => m.class_name?.includes('Slider') && m.data.label?.startsWith(label)).data
        const documents = window.Bokeh.documents
        const start = performance.now()
        const end = ms => { documents.forEach(one => one.remove_on_change(changed)); clearTimeout(late); resolve(ms) }
        const changed = event => {
            if (parts.has(event.model)) { painted().then(() => end(performance.now() - start)) }
        }
        const late = setTimeout(() => end(null), patience_ms)
        documents.forEach(one => one.on_change(changed))
        slider.setv({value, value_throttled: value})
    })
})()
"""


def serve_demo(start_server: Any, folder: Path) -> Iterator[Any]:
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
    for name in ("home", *CONTROLS):
        urllib.request.urlopen(f"{server.address}/{name}", timeout=120).read()  # all that is imported, is
    yield server
    yield from started


def memory_mb(process: int) -> float:
    """Memory that a process has in use."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024


def cpu_s(process: int) -> float:
    """Seconds of the processor that a process took so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def told(values: list[float | None]) -> str:
    """Median, 95th percentile and largest of milliseconds."""
    known = [value for value in values if value is not None]
    lost = f", {len(values) - len(known)} without an answer" if len(known) < len(values) else ""
    if not known:
        return f"no answer in {len(values)} tries"
    half, most, last = np.percentile(known, [50, 95, 100])
    return f"{half:6.0f} {most:6.0f} {last:6.0f} ms (n = {len(known)}{lost})"


class Visitor:
    """A person's browser without its pictures: speaks Bokeh's protocol, and takes what the server draws.

    Parameters
    ----------
    address
        Of the server.
    name
        Of a page.
    """

    def __init__(self, address: str, name: str) -> None:
        self.address, self.path, self.control = address, f"/{name}", CONTROLS[name]
        self._numbers = itertools.count()
        self._parts: set[str] = set()
        self._slider, self._buttons = "", dict[str, str]()
        self.drawn = asyncio.Event()

    async def open(self) -> float:
        """Open the page as a browser does, and return how long it took in seconds."""
        begun = time.perf_counter()
        page = await asyncio.to_thread(ask, self.address, self.path)
        assert page.status == 200, page.text
        self._socket = await open_socket(self.address, self.path, token_of(page))
        self._socket.protocol.set_nodelay(True)  # as browsers do
        await self._send("PULL-DOC-REQ", {})
        while not self._slider:
            await self._read()
        ready = {"type": "event", "name": "document_ready", "values": {"type": "map", "entries": []}}
        await self._patch({"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": ready})
        self._reading = asyncio.create_task(self._read_on())
        return time.perf_counter() - begun

    async def move(self, value: Any, patience_s: float = 10) -> float | None:
        """Move the slider, and return after how many milliseconds a picture followed."""
        self.drawn.clear()
        begun = time.perf_counter()
        model = {"id": self._slider}
        told = [{"kind": "ModelChanged", "model": model, "attr": attr, "new": value} for attr in _VALUES]
        await self._patch(*told)
        try:
            await asyncio.wait_for(self.drawn.wait(), patience_s)
        except TimeoutError:
            return None
        return 1000 * (time.perf_counter() - begun)

    async def press(self, label: str) -> None:
        """Press a button."""
        values = [["model", {"id": self._buttons[label]}], ["node", "click"], ["data", {"type": "map", "entries": []}]]
        event = {"type": "event", "name": "dom_event", "values": {"type": "map", "entries": values}}
        await self._patch({"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event})

    async def close(self) -> None:
        """Leave."""
        self._reading.cancel()
        self._socket.close()

    async def _patch(self, *events: dict[str, Any]) -> None:
        await self._send("PATCH-DOC", {"events": events})

    async def _send(self, kind: str, content: dict[str, Any]) -> None:
        header = {"msgid": f"v{next(self._numbers)}", "msgtype": kind}
        for part in (header, {}, content):
            await self._socket.write_message(json.dumps(part))

    async def _read(self) -> None:
        """Take one message: header, metadata, content; what is sent for its buffers is passed over."""
        header: Any = None
        while not (isinstance(header, dict) and "msgtype" in header):
            said = await self._socket.read_message()
            header = json.loads(said) if isinstance(said, str) and said.startswith("{") else None
        await self._socket.read_message()
        content = json.loads(await self._socket.read_message())
        if header["msgtype"] == "PULL-DOC-REPLY":
            self._look_through(content["doc"]["roots"])
        elif header["msgtype"] == "PATCH-DOC":
            self._look_through(content["events"])
            changed = {event.get("model", {}).get("id") for event in content["events"]}
            if changed & self._parts:
                self.drawn.set()

    async def _read_on(self) -> None:
        while True:
            await self._read()

    def _look_through(self, told: Any, *, pictured: bool = False) -> None:
        """Learn which models are parts of a picture, which one is the slider, and which are buttons."""
        if isinstance(told, list):
            for each in told:
                self._look_through(each, pictured=pictured)
        if not isinstance(told, dict):
            return
        pictured = pictured or told.get("name") == "Figure"
        if pictured and "id" in told:
            self._parts.add(told["id"])
        found = told.get("attributes", {})
        if found.get("class_name"):
            data = found["data"]
            label = data.get("attributes", {}).get("label") or ""
            if "Slider" in found["class_name"] and label.startswith(self.control.label):
                self._slider = data["id"]
            if found["class_name"] == "Button":
                self._buttons[label] = told["id"]
        for each in told.values():
            self._look_through(each, pictured=pictured)


_VALUES = ("value", "value_throttled")
