"""Tables of the exposures instrument as people read them, on the page and in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dashboards.support.exposures_words import clock


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table as people read it: no column of sessions where there is one only, percents with two digits.

    Parameters
    ----------
    frame
        A table of a result.
    """
    empty = [name for name in ("session",) if name in frame and (frame[name] == "").all()]
    return frame.drop(columns=empty).round({"bad_percent": 2})


def groups_table(result: Any) -> pd.DataFrame:
    """Return the members of the duplicate groups as people read them.

    Parameters
    ----------
    result
        Result with ``table``.
    """
    table = result.table
    return tidy(
        pd.DataFrame(
            {
                "group": table["group"] + 1,
                "state": np.where(table["bad"], "bad", "kept"),
                "cause": table["cause"],
                "distance_um": table["distance_um"],
                "overlap": table["overlap"],
                "name": table["name"],
                "acquired_utc": [clock(moment) for moment in table["acquired"]],
                "session": table["session"],
                "grid_square": table["grid_square"],
                "foil_hole": table["foil_hole"],
                "area": table["area"],
            }
        )
    )
