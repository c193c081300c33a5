"""The settings of the texture page as text: Python and shell that give the same table."""

from __future__ import annotations

from typing import Any

from analysis.texture import cluster_patches, find_tile_set, measure_patches
from dashboards.support.statement import Name, changed_settings, python_call, shell_line

_NOTHING = "nothing"


def python_text(dashboard: Any) -> str:
    """Return the Python text that gives the table shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    calls = (
        python_call(find_tile_set, dashboard.folder or "FOLDER", dashboard.tile_settings, result="tiles"),
        python_call(measure_patches, Name("tiles"), dashboard.settings, result="patches"),
        python_call(cluster_patches, Name("patches"), dashboard.cluster_settings, result="found"),
    )
    return "\n".join(
        [
            "from analysis.texture import cluster_patches, find_tile_set, measure_patches, write_patches",
            "",
            *calls,
            f"write_patches(found, {str(dashboard.table_file)!r})",
            "print(found.summary())",
        ]
    )


def shell_text(dashboard: Any) -> str:
    """Return the shell line that gives the table shown.

    Parameters
    ----------
    dashboard
        The page.
    """
    tiles = changed_settings(find_tile_set, dashboard.tile_settings)
    how = changed_settings(measure_patches, dashboard.settings)
    clusters = changed_settings(cluster_patches, dashboard.cluster_settings)
    options: dict[str, Any] = dict(tiles)
    if dashboard.divide_by == "grid":
        options["grid"] = f"{dashboard.grid_rows}x{dashboard.grid_columns}"
    options |= {name: how[name] for name in ("patch_size", "step", "statistics", "shading") if name in how}
    if "leave_out" in how:
        options["leave_out"] = how["leave_out"] or _NOTHING
    options |= {name: how[name] for name in ("dark_below",) if name in how}
    options |= {name: value for name, value in clusters.items() if name != "scale"}
    options["no-scale"] = clusters.get("scale") is False
    options["output"] = str(dashboard.table_file)
    spelled = {name.replace("_", "-"): value for name, value in options.items()}
    return shell_line("graticule texture cluster", [dashboard.folder or "FOLDER"], spelled)
