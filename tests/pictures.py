"""Pictures of the README: serve the demonstration, look at every page, write small files.

``python tests/pictures.py`` makes those that the README shows again, ``home.png``, ``flatfield.png`` and so on in
``notebooks/pictures``; ``python tests/pictures.py FOLDER`` writes them into a folder of yours.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parent))

from conftest import find_browser

PICTURES = Path(__file__).parents[1] / "notebooks" / "pictures"
SIZE_PX = {"width": 1280, "height": 800}
WIDTH_PX = 960
LARGEST_BYTES = 105_000
TABS = {"home": None, "flatfield": "Comparison", "tiles": "Tiles", "circles": "Images", "exposures": "Map",
        "texture": "Heat map"}  # fmt: skip
SERVE = [sys.executable, "-c", "from dashboards.support.command import main; main()", "serve", "--demo", "--port", "0"]


def small_png(shot: bytes) -> bytes:
    """Return a screenshot at the width of the README in at most 256 colours, fewer when it would be large."""
    image = Image.open(io.BytesIO(shot)).convert("RGB")
    image = image.resize((WIDTH_PX, round(image.height * WIDTH_PX / image.width)), Image.Resampling.LANCZOS)
    for colours in (256, 128, 64, 32, 16):
        held = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(held, "PNG", optimize=True)
        if held.tell() <= LARGEST_BYTES:
            break
    return held.getvalue()


def look(page: Page, address: str, name: str, tab: str | None) -> bytes:
    """Return a screenshot of a page once it has come to rest."""
    page.goto(f"{address}/{name}")
    page.get_by_role("navigation", name="Instruments").wait_for()
    if tab is not None:
        page.get_by_role("tab", name=tab, exact=True).click()
    before = b""
    for _ in range(40):
        page.wait_for_timeout(1500)
        shot = page.screenshot()
        if shot == before:
            break
        before = shot
    return shot


def main(folder: Path) -> None:
    """Write all pictures and say how large they are."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as work,
        subprocess.Popen(SERVE, cwd=work, stdout=subprocess.PIPE, text=True) as served,
    ):
        try:
            line = next(line for line in served.stdout if "Graticule is at" in line)
            address = line.split()[3].rstrip("/")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport=SIZE_PX, color_scheme="light")
                for name, tab in TABS.items():
                    picture = small_png(look(page, address, name, tab))
                    (folder / f"{name}.png").write_bytes(picture)
                    print(f"{name}.png {len(picture) / 1000:.0f} kB", flush=True)
                browser.close()
        finally:
            served.terminate()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
