"""The settings of the tiles page as text: Python and shell that write the same tiles."""

from __future__ import annotations

import shlex
from typing import Any

from analysis.tiles import export_tiles
from dashboards.support.statement import Name, changed_settings, python_call, shell_line


def python_text(dashboard: Any) -> str:
    """Return the Python text that writes the tiles.

    Parameters
    ----------
    dashboard
        The page.
    """
    folders = dashboard.folders
    given = folders[0] if len(folders) == 1 else folders
    places = Name(f"{given!r}, {dashboard.working_dir!r}")
    return "\n".join(
        [
            "from analysis.tiles import export_tiles",
            "",
            python_call(export_tiles, places, dashboard.settings, result="export"),
            "print(export.summary())",
        ]
    )


def shell_text(dashboard: Any) -> str:
    """Return the shell line that writes the tiles.

    Parameters
    ----------
    dashboard
        The page.
    """
    first, *others = dashboard.folders or ["FOLDER"]
    changed = changed_settings(export_tiles, dashboard.settings)
    options = {_spelling(name): value for name, value in changed.items()}
    line = shell_line("graticule tiles export", [first, dashboard.working_dir], options)
    return f"{line} --also {' '.join(map(shlex.quote, others))}" if others else line


def _spelling(name: str) -> str:
    return name.removesuffix("_um").replace("_", "-")
