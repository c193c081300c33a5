"""``graticule serve``: every instrument in a browser, with the front page at ``/``."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from dashboards.support.acts import Outcome, Run, act
from dashboards.support.housekeeping import give_memory_back_soon, keep_house
from dashboards.support.options import settings_of_file
from dashboards.support.places import SCHEDULER, Places, Refused, check_places, make_places
from dashboards.support.serving_rules import Guard, OAuth, is_loopback

OPENED = {
    "roots": "GRATICULE_ROOTS",
    "working_dir": "GRATICULE_WORKING_DIR",
    "images": "GRATICULE_IMAGES",
    "acquisitions": "GRATICULE_ACQUISITIONS",
    "circles": "GRATICULE_CIRCLES",
    "epudata": "GRATICULE_EPU",
    "texture": "GRATICULE_TEXTURE",
}
"""Environment variables that tell the pages which data to open first."""

LOGOUT = "GRATICULE_LOGOUT"
"""Environment variable that tells the pages to show a way to log out."""

app = App(name="serve")
Paths = Annotated[list[Path] | None, Parameter(consume_multiple=True)]
Names = Annotated[list[str] | None, Parameter(consume_multiple=True)]


def instrument_files() -> dict[str, Path]:
    """Return the served files by the path they are served at; the front page is ``/``."""
    files = {path.stem: path for path in sorted(Path(__file__).parents[1].glob("*.py")) if path.stem != "__init__"}
    return {"/": files["home"], **{f"/{name}": path for name, path in files.items()}}


def free_port(address: str, port: int) -> int:
    """Return the port when it is free, or any free one for 0.

    Raises
    ------
    OSError
        When another program listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise OSError(f"port must be free; {port} is in use. Choose another one with --port.") from None
            if error.errno == errno.EACCES:
                raise OSError(f"port must be one you may use; {port} is not. Choose one from 1024 on.") from None
            raise OSError(f"address must be this machine's; got {address}: {error.strerror}.") from None
        return probe.getsockname()[1]


def serve(
    *,
    opened: Mapping[str, str] | None = None,
    port: int = 5006,
    address: str = "127.0.0.1",
    guard: Guard | None = None,
    open_browser: bool = False,
) -> None:
    """Serve the instruments until Ctrl-C or SIGTERM.

    Parameters
    ----------
    opened
        Environment variables that tell the pages what to open first.
    port
        0 takes any free one.
    address
        Where to listen.
    guard
        Who may open the pages, from where and by which name; without one this machine only.
    open_browser
        Whether to open the front page here.

    Raises
    ------
    ValueError
        For an address that others reach and no login.
    OSError
        When the port is taken.
    """
    guard = guard or Guard()
    guard.check(address)
    port = free_port(address, port)
    os.environ.update(opened or {})
    os.environ[LOGOUT] = "1" if guard.has_login else ""
    for warning in guard.warnings(address, port):
        print(f"Warning: {warning}", file=sys.stderr)
    asyncio.run(_serve(port, address, guard, open_browser))
    print("Stopped.", flush=True)


async def _serve(port: int, address: str, guard: Guard, open_browser: bool) -> None:
    # Panel takes seconds to import, and only this command needs it
    import panel as pn

    from dashboards.support.guarded_server import guarded_server
    from dashboards.support.jobs import stop_all

    # what pages that were closed go on to write is said nowhere else
    logging.basicConfig()
    logging.getLogger("dashboards").setLevel(logging.INFO)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # what is refused is no fault of the server
    server = guarded_server(guard, address=address, port=port, panels=instrument_files(), title="Graticule")
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # after `guarded_server`, which puts a handler of its own there that breaks the loop off
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    server.start()
    host = f"[{address}]" if ":" in address else address
    print(f"Graticule is at http://{host}:{port}/ (Ctrl-C stops it).", flush=True)
    if open_browser:
        server.show("/")
    housekeeping = asyncio.create_task(keep_house(instrument_files().values()))
    pn.state.on_session_destroyed(lambda _: give_memory_back_soon(loop))
    try:
        await stop.wait()
    finally:
        housekeeping.cancel()
        server.stop(wait=False)
        pn.state.kill_all_servers()
        stop_all()
        print("Stopping; what is finished is kept. Press again to stop at once.", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            # work that is under way ends at its next whole file, and `asyncio.run` waits for it
            signal.signal(number, signal.SIG_DFL)


@act(spellings={"working_dir": ("--workingdir",)})
def serve_command(
    run: Run,
    *,
    demo: bool = False,
    dir: Path = Path("demo"),
    roots: Paths = None,
    working_dir: Path | None = None,
    images: Paths = None,
    acquisitions: Path | None = None,
    circles: Path | None = None,
    epudata: Path | None = None,
    texture: Path | None = None,
    data: Paths = None,
    output: Path | None = None,
    read_only: bool = False,
    scheduler: str | None = None,
    port: int = 5006,
    address: str = "127.0.0.1",
    allow_origin: Names = None,
    basic_auth: Path | None = None,
    oauth_provider: str | None = None,
    oauth_key: str = "",
    oauth_secret: Path | None = None,
    oauth_redirect_uri: str = "",
    oauth_allow: Names = None,
    login_by_proxy: bool = False,
    behind_https: bool = False,
    login_hours: float = 12.0,
    most_sessions: int = 100,
    open: bool = False,
) -> Outcome:
    """Serve the instruments to a browser on this machine.

    Parameters
    ----------
    demo
        Make sample data first, as graticule demo does, and open it.
    dir
        Folder of the sample data.
    roots
        Folders with sampledef.csv to open first.
    working_dir
        Folder of comparisons to open first.
    images
        Folders of images to cut to open first.
    acquisitions
        Folder of acquisitions to open first.
    circles
        Folder of circles found in them, to open first.
    epudata
        Folder of an EPU session to open first.
    texture
        Folder of a set of tiles to open first.
    data
        Folders that visitors may have read, and nothing outside them, links followed to their ends; all when none is
        named. Without them, other machines are not served. A path that does not begin at the root is looked for in
        them, one after the other.
    output
        The one folder that visitors may have written into, and read; needs data. With data and without it nothing is
        written. Folders of results that do not begin at the root are in it.
    read_only
        Write nothing: pages neither offer nor do it.
    scheduler
        Address of a Dask scheduler that the pages have their work done by; with data, visitors name no other.
    port
        Port to listen on; 0 takes any free one.
    address
        Address to listen on. One that other machines reach needs a login and allow-origin.
    allow_origin
        HOST or HOST:PORT under which browsers of other machines open the pages.
    basic_auth
        File of those who may open the pages, made with graticule password FILE NAME.
    oauth_provider
        Login by another site: auth0, azure, bitbucket, generic, github, gitlab, google or okta.
    oauth_key
        Public name that the provider gave to the pages.
    oauth_secret
        File with the secret that the provider gave to the pages; without it the variable PANEL_OAUTH_SECRET.
    oauth_redirect_uri
        Address of the pages, as it is known to the provider.
    oauth_allow
        Names, or @example.org for all of a domain, that may open the pages after the provider's login.
    login_by_proxy
        A web server before the pages asks for a login, and nobody reaches them otherwise.
    behind_https
        A web server before the pages speaks https with the browsers.
    login_hours
        How long a login lasts.
    most_sessions
        Pages that may be open at one time.
    open
        Open the front page in this machine's browser.
    """
    guard = Guard(
        allow_origin=tuple(allow_origin or ()),
        passwords=basic_auth,
        oauth=OAuth(oauth_provider, oauth_key, oauth_secret, oauth_redirect_uri, tuple(oauth_allow or ()))
        if oauth_provider
        else None,
        by_proxy=login_by_proxy,
        https=behind_https,
        login_hours=login_hours,
        most_sessions=most_sessions,
    )
    guard.check(address)
    hosts = [origin.rpartition(":")[0] or origin for origin in allow_origin or ()]
    check_places(data, reached_by_others=not all(map(is_loopback, [address, *hosts])))
    allowed = make_places(data=data or (), output=output, read_only=read_only)
    opened: dict[str, str] = allowed.environment()
    if demo:
        _refuse_demo_outside(dir, allowed)
        from dashboards.support.demo import make_demo, opened_by

        opened |= opened_by(make_demo(dir, run))
        run.progress.close()
    given = {
        "roots": roots or [],
        "working_dir": [working_dir],
        "images": images or [],
        "acquisitions": [acquisitions],
        "circles": [circles],
        "epudata": [epudata],
        "texture": [texture],
    }
    _refuse_outside(given, allowed)
    for name, paths in given.items():
        if named := [str(Path(path).resolve()) for path in paths if path is not None]:
            opened[OPENED[name]] = os.pathsep.join(named)
    if scheduler:
        opened[SCHEDULER] = scheduler
    serve(
        opened=opened,
        port=port,
        address=address,
        guard=guard,
        open_browser=open,
    )
    return Outcome({})


def _refuse_outside(given: Mapping[str, Sequence[Path | None]], allowed: Places) -> None:
    """Refuse to open first what visitors may not have read."""
    for name, paths in given.items():
        for path in paths:
            try:
                if path is not None:
                    allowed.to_read(Path(path).resolve())
            except Refused:
                raise ValueError(
                    f"{name} must be in a folder named with --data; {path} is not. Name its folder there too."
                ) from None


def _refuse_demo_outside(folder: Path, allowed: Places) -> None:
    """Refuse to make sample data where visitors' results may not go, too."""
    try:
        if allowed.restricted:
            allowed.to_write(folder.resolve())
    except Refused:
        raise ValueError(
            f"dir must be in the folder named with --output when --data is given; {folder} is not. Make sample data "
            "first, with graticule demo, to only look at them."
        ) from None


app.default(serve_command)
app.config = settings_of_file
