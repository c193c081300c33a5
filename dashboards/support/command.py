"""The command ``graticule``, and ``meanimagecomparison`` and ``find_dupl`` as their first tools spell them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cyclopts import App
from cyclopts.exceptions import CycloptsError

import analysis
from dashboards.support.acts import DONE, WRONG_USE, Outcome, Run, act
from dashboards.support.options import settings_of_file

_HOW = {"help_format": "plaintext", "result_action": "return_value", "print_error": False, "exit_on_error": False}


@act()
def info(run: Run) -> Outcome:
    """Print versions, and where Graticule was found."""
    from analysis.provenance import versions

    return Outcome({**versions(), "analysis": str(Path(analysis.__file__).parent), "executable": sys.executable})


app = App(
    name="graticule",
    help="A workbench where microscopists see, tweak and export the quality control of their images.",
    version=analysis.__version__,
    **_HOW,
)
app.command(App(name="info", default_command=info, config=settings_of_file, help=info.__doc__))
for _name, _module, _help in (
    ("flatfield", "flatfield_command", "Which slides share one illumination pattern, and what is it?"),
    ("tiles", "tiles_command", "How do I cut calibrated, normalised training patches, and put them back?"),
    ("circles", "circles_command", "What round objects are in last night's acquisitions?"),
    ("exposures", "exposures_command", "Which cryo-EM micrographs were shot twice in one place?"),
    ("texture", "texture_command", "Which patches of a tile set look alike?"),
    ("report", "gathering", "Gather several reports in one HTML file that opens without a network."),
    ("demo", "demo", "Make sample data, run the instruments on it, and serve them."),
    ("serve", "serving", "Serve the instruments to a browser on this machine."),
    ("password", "password_command", "Let a person open the pages with a name and a password, or no longer."),
):
    # imported when asked for: `graticule --help` need not wait for NumPy and Panel
    app.command(f"dashboards.support.{_module}:app", name=_name, help=_help)


def main(tokens: Sequence[str] | None = None, *, command: App = app) -> int:
    """Run ``graticule``.

    Parameters
    ----------
    tokens
        The words after the command's name; those of the process when None.
    command
        ``graticule``, or another name of one of its commands.

    Returns
    -------
    int
        The exit code: 0 done, 1 some inputs failed, 2 wrong use, 3 the scheduler was lost, 130 stopped by Ctrl-C or by
        who started it.
    """
    try:
        return command(sys.argv[1:] if tokens is None else list(tokens)) or DONE
    except CycloptsError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return WRONG_USE


def meanimagecomparison(tokens: Sequence[str] | None = None) -> int:
    """Run ``graticule flatfield compare`` under its second name.

    Parameters
    ----------
    tokens
        As in `main`.

    Returns
    -------
    int
        The exit code.
    """
    from dashboards.support.flatfield_command import compare

    return _second_name("meanimagecomparison", compare, tokens)


def find_dupl(tokens: Sequence[str] | None = None) -> int:
    """Run ``graticule exposures find_dupl`` under its second name.

    Parameters
    ----------
    tokens
        As in `main`.

    Returns
    -------
    int
        The exit code.
    """
    from dashboards.support.find_dupl_command import find_dupl as both_steps

    return _second_name("find_dupl", both_steps, tokens)


def _second_name(name: str, command: Callable[..., int], tokens: Sequence[str] | None) -> int:
    return main(
        tokens, command=App(name, default_command=command, config=settings_of_file, help=command.__doc__, **_HOW)
    )
