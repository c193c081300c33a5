"""Tables and small pictures of the texture page, with names that are never HTML."""

from __future__ import annotations

import asyncio
import base64
import html
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import NumberFormatter
from PIL import Image as PillowImage

from analysis.tables import table_text
from analysis.texture import cut_patches
from dashboards.support.jobs import start
from dashboards.support.loading import in_thread
from dashboards.support.parts import as_text, card, say, words
from dashboards.support.tabs import _TABLE_LOOK
from dashboards.support.texture_work import Latest

_ROWS = 20
_SMALLEST_PX = 64
_GALLERY = """
:host { color: inherit; }
.gallery { display: flex; flex-wrap: wrap; gap: 10px; }
figure { margin: 0; width: 92px; min-width: 0; }
figure img { width: 92px; border-radius: 4px; display: block; image-rendering: pixelated; background: #8884; }
figcaption { font: 500 0.74rem/1.3 system-ui, sans-serif; padding-top: 3px; overflow-wrap: anywhere;
  color: var(--mui-palette-text-secondary, #7a8594); }
"""
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


def digits_of(values: pd.Series) -> str:
    """Return the format of a column of numbers: as many digits as tell something.

    Examples
    --------
    >>> digits_of(pd.Series([12000.0])), digits_of(pd.Series([0.25]))
    ('0,0', '0.0000')
    """
    known = values[np.isfinite(values.astype(float))].abs()
    size = float(known.quantile(0.9)) if len(known) else 0.0
    for least, kind in ((1000, "0,0"), (100, "0.0"), (1, "0.00")):
        if size >= least:
            return kind
    return "0.0000"


def make_table(
    frame: pd.DataFrame,
    *,
    clicked: Callable[[int, str], None] | None = None,
    rows: int = _ROWS,
    **options: Any,
) -> pn.widgets.Tabulator:
    """Return a table in pages, of which the browser gets one.

    Parameters
    ----------
    frame
        The table; its index is not shown.
    clicked
        Called with the place of the row that is clicked, and the column.
    rows
        On a page.
    **options
        Of `panel.widgets.Tabulator`.
    """
    shown = frame.reset_index(drop=True)
    numbers = [name for name in shown if pd.api.types.is_float_dtype(shown[name])]
    formatters = {
        name: NumberFormatter(format=digits_of(shown[name]), text_align="right", nan_format="–") for name in numbers
    }
    table = pn.widgets.Tabulator(
        shown,
        # the headings are HTML to the table, and classes are named by people
        titles={name: html.escape(str(name).replace("_", " ")) for name in shown.columns},
        formatters={**formatters, **options.pop("formatters", {})},
        show_index=False,
        disabled=True,
        pagination="remote" if len(shown) > rows else None,
        page_size=rows,
        theme="simple",
        layout="fit_data_table",
        stylesheets=[_TABLE_LOOK],
        sizing_mode="stretch_width",
        **options,
    )
    if clicked is not None:
        table.on_click(lambda event: clicked(event.row, event.column))
    return table


def show_frame(place: pn.Column, frame: pd.DataFrame, *, empty: str = "Nothing.", **options: Any) -> None:
    """Put a table on the page; an empty one is said in words.

    Parameters
    ----------
    place
        Where.
    frame
        The table.
    empty
        What is said when there is no row.
    **options
        Of `make_table`.
    """
    # a new widget each time: one on a tab not opened yet does not bear new columns
    place[:] = [words(empty, muted=True)] if frame.empty else [make_table(frame, **options)]


def picture_address(pixels: np.ndarray) -> str:
    """Return a grey picture as an address that holds it.

    Parameters
    ----------
    pixels
        (rows, columns) uint8.
    """
    picture = PillowImage.fromarray(pixels)
    times = max(1, _SMALLEST_PX // max(picture.size))
    picture = picture.resize((picture.width * times, picture.height * times), PillowImage.Resampling.NEAREST)
    kept = io.BytesIO()
    picture.save(kept, "PNG")
    return "data:image/png;base64," + base64.b64encode(kept.getvalue()).decode()


def gallery() -> pn.pane.HTML:
    """Return a place for a row of pictures; fill it with `show_pictures`."""
    return pn.pane.HTML("", stylesheets=[_GALLERY], sizing_mode="stretch_width")


def show_pictures(place: pn.pane.HTML, pictures: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Show pictures with a line below each.

    Parameters
    ----------
    place
        From `gallery`.
    pictures
        (rows, columns) uint8 each.
    captions
        Plain text.
    """
    parts = [
        f'<figure><img alt="{as_text(caption)}" src="{picture_address(pixels)}">'
        f"<figcaption>{as_text(caption)}</figcaption></figure>"
        for pixels, caption in zip(pictures, captions, strict=True)
    ]
    place.object = f'<div class="gallery">{"".join(parts)}</div>' if parts else ""


def safe_csv(table: pd.DataFrame) -> str:
    """Return a table as CSV in which no spreadsheet takes a name for a formula.

    Text that begins as a formula does gets an apostrophe before it; numbers stay.

    Parameters
    ----------
    table
        With names of files and classes that people gave.

    Examples
    --------
    >>> safe_csv(pd.DataFrame({"class": ["=1+1", "film"], "mean": [-1.0, 2.0]})).splitlines()
    ['class,mean', "'=1+1,-1.0", 'film,2.0']
    """
    return table_text(table, for_spreadsheets=True)


def picture_tag(pixels: np.ndarray, told: str) -> str:
    """Return a grey picture as an HTML tag.

    Parameters
    ----------
    pixels : (rows, columns) array of uint8
        The picture.
    told
        What it shows; any text.
    """
    return f'<img src="{picture_address(pixels)}" alt="{as_text(told)}" title="{as_text(told)}">'


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
            content = await in_thread(draw)
        except (ValueError, OSError) as error:
            say(self.line, f"The patches cannot be shown: {error}")
            self.pane.visible = False
            return
        say(self.line, line)
        self.pane.param.update(object=content, visible=True)
