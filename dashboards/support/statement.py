"""Numbers, names and settings as text: a count with its noun, the Python call and the shell line of the same result."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def count_of(count: int, noun: str) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    count
        The number.
    noun
        In the singular.

    Examples
    --------
    >>> count_of(1, "patch"), count_of(2000, "patch"), count_of(0, "tile")
    ('1 patch', '2,000 patches', '0 tiles')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}{'es' if noun.endswith(('ch', 's')) else 's'}"


def shortened(name: str, most: int = 48) -> str:
    """Return a name with its middle left out, where it is too long for its place.

    Parameters
    ----------
    name
        The name.
    most
        Characters that have room.

    Examples
    --------
    >>> shortened("cells_00"), shortened("a" * 30 + "_0001", 13)
    ('cells_00', 'aaaaaa…a_0001')
    """
    left = (most - 1) // 2
    return name if len(name) <= most else f"{name[: most - 1 - left]}…{name[-left:]}"


def changed_settings(function: Callable[..., Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from a function's defaults.

    Parameters
    ----------
    function
        Whose keyword arguments the settings are; others are left out.
    settings
        Values by name.
    """
    arguments = inspect.signature(function).parameters
    return {name: value for name, value in settings.items() if name in arguments and arguments[name].default != value}


def python_call(
    function: Callable[..., Any], first: Any, settings: Mapping[str, Any], *, result: str, also: str = ""
) -> str:
    """Return a call of a public function as Python text.

    Parameters
    ----------
    function
        The function.
    first
        Its first argument: a value, or the name of a variable as ``Name``.
    settings
        Keyword arguments; those at their default are left out.
    result
        Name that the result is bound to.
    also
        A further keyword argument as text.

    Examples
    --------
    >>> def halve(number, *, twice=False): ...
    >>> python_call(halve, 3, {"twice": True}, result="half")
    'half = halve(3, twice=True)'
    """
    parts = [repr(first), *(f"{name}={value!r}" for name, value in changed_settings(function, settings).items())]
    parts += [also] if also else []
    line = f"{result} = {function.__name__}({', '.join(parts)})"
    if len(line) <= 88:
        return line
    return f"{result} = {function.__name__}(\n" + "".join(f"    {part},\n" for part in parts) + ")"


class Name(str):
    """The name of a variable: written without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the name itself."""
        return str(self)


def shell_line(command: str, places: Sequence[Any], options: Mapping[str, Any]) -> str:
    """Return a command line.

    Parameters
    ----------
    command
        Program and act.
    places
        Arguments without a name.
    options
        Values by the option's spelling without its dashes. None, False and empty ones are left out, True is a flag,
        several values are joined by commas.

    Examples
    --------
    >>> shell_line("graticule flatfield compare", ["my data"], {"sort-by": "order", "bounds": (0.9, 1.1)})
    "graticule flatfield compare 'my data' --sort-by order --bounds 0.9,1.1"
    """
    words = [command, *(shlex.quote(str(place)) for place in places)]
    for name, value in options.items():
        if value is None or value is False or value == "" or (isinstance(value, (tuple, list)) and not value):
            continue
        words.append(f"--{name}")
        if value is not True:
            text = ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
            # an equals sign keeps a value that begins with a dash from being read as an option
            if text.startswith("-"):
                words[-1] += "=" + shlex.quote(text)
            else:
                words.append(shlex.quote(text))
    return " ".join(words)
