"""Small pictures of patches on the texture page: what stands for each cluster, and what is selected."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import panel as pn
from PIL import Image as PillowImage

from analysis.texture import cut_patches
from dashboards.support.jobs import start
from dashboards.support.page import as_text, card, say, words
from dashboards.support.texture_work import Latest

_SETTLED_S = 0.25
_PICTURE_PX = 64
_LOOK = f"""
.row {{ display: flex; align-items: center; gap: 5px; padding: 4px 0; flex-wrap: wrap; }}
.row .name {{ width: 112px; font-size: 12px; line-height: 1.35; overflow-wrap: anywhere; }}
.row .count {{ opacity: 0.7; }}
.dot {{ display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 6px; }}
img {{ width: {_PICTURE_PX}px; height: {_PICTURE_PX}px; object-fit: cover; border-radius: 4px;
  image-rendering: pixelated; background: #888; }}
"""


def picture_tag(pixels: np.ndarray, told: str) -> str:
    """Return a grey picture as an HTML tag.

    Parameters
    ----------
    pixels : (rows, columns) array of uint8
        The picture.
    told
        What it shows; any text.
    """
    kept = io.BytesIO()
    PillowImage.fromarray(pixels).save(kept, "PNG")
    content = base64.b64encode(kept.getvalue()).decode()
    return f'<img src="data:image/png;base64,{content}" alt="{as_text(told)}" title="{as_text(told)}">'


def place_of(patches: Any, row: int) -> str:
    """Return words for a patch: file, row and column."""
    entry = patches.table.iloc[row]
    return f"{entry['name']}, row {entry['row']}, column {entry['column']}"


def draw_representatives(found: Any, colours: Sequence[str]) -> str:
    """Return the patches nearest to the mean of each cluster as HTML, a row a cluster.

    Parameters
    ----------
    found
        As `cluster_patches` returns it.
    colours
        Of clusters, from the first.
    """
    table = found.representatives
    pictures = cut_patches(found.patches, table["patch"].tolist())
    sizes = dict(zip(found.sizes["cluster"], found.sizes["patches"], strict=True))
    rows = []
    for number, name in found.names.items():
        places = np.flatnonzero(table["cluster"].to_numpy() == number)
        shown = "".join(
            picture_tag(pictures[place], place_of(found.patches, int(table["patch"].iloc[place]))) for place in places
        )
        dot = f'<span class="dot" style="background: {colours[(number - 1) % len(colours)]}"></span>'
        count = f'<br><span class="count">{int(sizes[number]):,} patches</span>'
        rows.append(f'<div class="row"><span class="name">{dot}{as_text(name)}{count}</span>{shown}</div>')
    return "".join(rows)


def draw_selected(patches: Any, rows: Sequence[int]) -> str:
    """Return some patches as HTML.

    Parameters
    ----------
    patches
        What was measured.
    rows
        Of their table.
    """
    pictures = cut_patches(patches, rows)
    shown = "".join(picture_tag(pixels, place_of(patches, row)) for pixels, row in zip(pictures, rows, strict=True))
    return f'<div class="row">{shown}</div>'


class Pictures:
    """A card of small pictures that are cut out of the tiles in a thread, a moment after the last change.

    Parameters
    ----------
    title
        Of the card.
    hint
        What stands there while there is nothing to show.
    """

    def __init__(self, title: str, hint: str) -> None:
        self._hint, self._latest = hint, Latest()
        self.line = words(hint, muted=True)
        self.pane = pn.pane.HTML("", sizing_mode="stretch_width", stylesheets=[_LOOK], visible=False)
        self.card = card(self.line, self.pane, title=title)

    def show(self, draw: Any, line: str) -> None:
        """Show what a function of no arguments returns as HTML.

        Parameters
        ----------
        draw
            Called in a thread; None for nothing.
        line
            Words above the pictures.
        """
        self._draw, self._line = draw, line
        start(self._follow)

    async def _follow(self) -> None:
        await self._latest.run(self._once)

    async def _once(self) -> None:
        draw, line = self._draw, self._line
        if draw is None:
            say(self.line, line or self._hint)
            self.pane.param.update(object="", visible=False)
            return
        await asyncio.sleep(_SETTLED_S)
        if draw is not self._draw:
            return
        try:
            content = await asyncio.to_thread(draw)
        except (ValueError, OSError) as error:
            say(self.line, f"The patches cannot be shown: {error}")
            self.pane.visible = False
            return
        say(self.line, line)
        self.pane.param.update(object=content, visible=True)
