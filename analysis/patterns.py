"""Names: patterns that people type, matched so that none can hang the program, and the order people expect."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable

import re2
import regex

LONGEST_PATTERN = 200
_TIMEOUT_S = 0.5
_MOST_REPEATS = 10_000

_DIGITS = re.compile(r"([0-9]+)")

_quiet = re2.Options()
_quiet.log_errors = False


def match_names(pattern: str | None, names: Iterable[str]) -> list[bool]:
    r"""Tell which names a pattern takes, from their start as `re.match` does.

    Patterns go to RE2, whose time grows with the length of the text only. Those that need look-around
    or back-references go to ``regex`` with a time-out of half a second in all.

    Parameters
    ----------
    pattern
        A regular expression; None or ``""`` takes every name.
    names
        The names to try.

    Returns
    -------
    list of bool
        One for each name.

    Raises
    ------
    ValueError
        When the pattern is too long, is not a regular expression, or takes too long.

    Examples
    --------
    >>> match_names(r"M\d_1", ["M1_1", "M1_2", "M2_1"])
    [True, False, True]
    """
    names = list(names)
    if not pattern:
        return [True] * len(names)
    if len(pattern) > LONGEST_PATTERN:
        raise ValueError(f"A pattern must have at most {LONGEST_PATTERN} characters; got {len(pattern)}.")
    unique = dict.fromkeys(names)
    try:
        compiled = re2.compile(pattern, _quiet)
        found = {name: compiled.match(name) is not None for name in unique}
    except re2.error:
        found = _match_with_timeout(pattern, unique)
    return [found[name] for name in names]


def _match_with_timeout(pattern: str, names: Iterable[str]) -> dict[str, bool]:
    # compiling unrolls repeats, nested ones multiply, and no time-out guards it
    repeats = math.prod(int(count) for count in re.findall(r"(\d+)\}", pattern) if int(count))
    if repeats > _MOST_REPEATS:
        raise ValueError(f"A pattern's repeat counts must multiply to at most {_MOST_REPEATS}; got {pattern!r}.")
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"The pattern must be a regular expression; {pattern!r} is not: {error}.") from None
    found, remaining_s = {}, _TIMEOUT_S
    names = list(names)
    for name in names:
        try:
            # each name may use what an equal share of the half second allows
            found[name] = compiled.match(name, timeout=remaining_s / len(names)) is not None
        except TimeoutError:
            raise ValueError(
                f"The pattern {pattern!r} takes too long on names such as {name!r}. "
                "Write it without nested repeats such as (a+)+."
            ) from None
    return found


@functools.lru_cache(maxsize=65_536)
def natural_key(name: str) -> tuple[object, ...]:
    """Return what sorts ``fov_2`` before ``fov_10``, in capitals or not; names that differ in anything stay apart.

    Parameters
    ----------
    name
        Of a file, a folder, a slide.

    Examples
    --------
    >>> sorted(["s10", "S2", "s1"], key=natural_key)
    ['s1', 'S2', 's10']
    """
    parts = _DIGITS.split(name)
    # every second part is a run of digits; its length tells its size, however long it is
    numbers = [(len(part.lstrip("0")), part.lstrip("0")) for part in parts[1::2]]
    texts = [part.casefold() for part in parts[::2]]
    return (*zip(texts, [*numbers, (-1, "")], strict=True),), name
