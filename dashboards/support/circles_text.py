"""The settings of the circles page as text: Python and shell that do what Run does."""

from __future__ import annotations

from typing import Any

from analysis.circles import run_pipeline
from dashboards.support.statement import Name, changed_settings, python_call, shell_line


def _settings(dashboard: Any) -> dict[str, Any]:
    """Keywords that matter: pixels or micrometres, not both."""
    return {name: value for name, value in dashboard.settings.items() if value is not None}


def python_text(dashboard: Any) -> str:
    """Return the Python text that does what Run does.

    Parameters
    ----------
    dashboard
        The page.
    """
    places = Name(f"{dashboard.folder!r}, {dashboard.output!r}")
    return "\n".join(
        [
            "from analysis.circles import run_pipeline",
            "",
            python_call(run_pipeline, places, _settings(dashboard), result="run"),
            "print(run.summary())",
        ]
    )


def shell_text(dashboard: Any) -> str:
    """Return the shell line that does what Run does.

    Parameters
    ----------
    dashboard
        The page.
    """
    changed = changed_settings(run_pipeline, _settings(dashboard))
    options = {_spelling(name): value for name, value in changed.items()}
    return shell_line("graticule circles run", [dashboard.folder or "FOLDER", dashboard.output], options)


def _spelling(name: str) -> str:
    return name.replace("_", "-")
