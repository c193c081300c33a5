"""Tables of the exposures instrument as people read them, on the page and in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models.widgets.tables import NumberFormatter

from dashboards.support.exposures_words import clock
from dashboards.support.tabs import show_table

_DIGITS = {
    "bad_percent": 2, "distance_um": 3, "beam_shared_percent": 1, "k_um_per_unit": 2, "angle_deg": 1,
    "residual_um": 3, "filled": 2, "score": 1, "beam_diameter_um": 3, "hole_spacing_um": 2, "hole_size_um": 2,
    "beam_shift_x": 4, "beam_shift_y": 4, "margin": 1, "radius_um": 4,
}  # fmt: skip
_UNITS = {
    "_um_per_unit": " (µm per unit)", "_um": " (µm)", "_deg": " (°)", "_percent": " (%)", "_utc": " (UTC)",
}  # fmt: skip


def heading(name: str) -> str:
    """Return the name of a column as a heading, with its unit in brackets.

    Parameters
    ----------
    name
        Of a column of a result.

    Examples
    --------
    >>> heading("k_um_per_unit"), heading("grid_square")
    ('k (µm per unit)', 'grid square')
    """
    for ending, unit in _UNITS.items():
        if name.endswith(ending):
            return name.removesuffix(ending).replace("_", " ") + unit
    return name.replace("_", " ")


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as people read it: headings with units, sensible digits, no column of sessions for one only.

    Parameters
    ----------
    frame
        A table of a result.
    """
    empty = [name for name in ("session",) if name in frame and (frame[name] == "").all()]
    return frame.drop(columns=empty).round(_DIGITS).rename(columns=heading)


def show_tidy(place: pn.Column, frame: pd.DataFrame) -> None:
    """Show a table on the page as people read it.

    Parameters
    ----------
    place
        Where.
    frame
        A table of a result.
    """
    made = pn.Column()  # changing a table that is on the page already fails in the browser
    show_table(made, tidy(frame))
    if isinstance(made[0], pn.widgets.Tabulator):
        made[0].formatters = {
            heading(name): NumberFormatter(format=f"0.{'0' * _DIGITS.get(name, 4)}", text_align="right")
            for name in frame.columns
            if pd.api.types.is_float_dtype(frame[name])
        }
    place[:] = list(made)


def groups_table(result: Any) -> pd.DataFrame:
    """Return the members of the duplicate groups as people number them, a row an exposure.

    Parameters
    ----------
    result
        Result with ``table``.
    """
    table = result.table
    return pd.DataFrame(
        {
            "group": table["group"] + 1,
            "state": np.where(table["bad"], "bad", "kept"),
            "cause": table["cause"],
            "distance_um": table["distance_um"],
            "beam_shared_percent": 100 * table["overlap"],
            "name": table["name"],
            "acquired_utc": [clock(moment) for moment in table["acquired"]],
            "session": table["session"],
            "grid_square": table["grid_square"],
            "foil_hole": table["foil_hole"],
            "area": table["area"],
        }
    )
