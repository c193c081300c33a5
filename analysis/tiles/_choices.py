"""Which number types can hold the bounds, and which files can hold the number types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TYPES = ("uint8", "uint16", "float32")
"""Number types that normalised tiles can have."""
FORMATS = (".tif", ".png", ".jpg")


def judge_types(bounds: Sequence[float]) -> dict[str, str]:
    """Every number type that normalised tiles can have, and why it cannot hold the bounds.

    Parameters
    ----------
    bounds
        Lowest and highest value of the tiles.

    Returns
    -------
    dict
        For ``"uint8"``, ``"uint16"`` and ``"float32"`` a sentence; empty for a type that can.

    Raises
    ------
    ValueError
        When the bounds are not two finite numbers, the lower one first.

    Examples
    --------
    >>> judge_types((0, 1000))["uint8"]
    'uint8 holds 0 to 255, not 0 to 1000'
    """
    low, high = check_bounds(bounds)
    return {name: _judge_type(np.dtype(name), low, high) for name in TYPES}


def _judge_type(dtype: np.dtype, low: float, high: float) -> str:
    between = f"{low:g} to {high:g}"
    if dtype.kind == "f":
        held = np.float32(low) < np.float32(high) and max(abs(low), abs(high)) <= np.finfo(dtype).max
        return "" if held else f"{dtype} cannot tell {between} apart"
    info = np.iinfo(dtype)
    if low < info.min or high > info.max:
        return f"{dtype} holds {info.min} to {info.max}, not {between}"
    if low != int(low) or high != int(high):
        return f"{dtype} holds whole numbers only, not {between}"
    return "" if high - low > 1 else f"{dtype} would leave two values between {between}"


def allowed_types(bounds: Sequence[float]) -> tuple[str, ...]:
    """Number types that can hold the bounds.

    Parameters
    ----------
    bounds
        Lowest and highest value of the tiles.

    Returns
    -------
    tuple of str
        Of ``"uint8"``, ``"uint16"`` and ``"float32"``.

    Raises
    ------
    ValueError
        As `judge_types`.

    Examples
    --------
    >>> allowed_types((0, 1)), allowed_types((0, 255)), allowed_types((0, 65535))
    (('float32',), ('uint8', 'uint16', 'float32'), ('uint16', 'float32'))
    """
    return tuple(name for name, reason in judge_types(bounds).items() if not reason)


def judge_formats(dtype: str | np.dtype, *, channels: int = 1) -> dict[str, str]:
    """Every file format, and why it cannot hold a number type.

    Parameters
    ----------
    dtype
        Of the tiles.
    channels
        Number of values in a pixel; 3 for colour.

    Returns
    -------
    dict
        For ``".tif"``, ``".png"`` and ``".jpg"`` a sentence; empty for a format that can.

    Examples
    --------
    >>> judge_formats("float32")[".png"]
    'PNG holds uint8, and uint16 without colour; float32 needs .tif'
    """
    name = np.dtype(dtype).name
    needs = f"{name} with {channels} channels needs .tif" if channels != 1 else f"{name} needs .tif"
    png = (name == "uint8" and channels in (1, 3, 4)) or (name == "uint16" and channels == 1)
    jpg = name == "uint8" and channels in (1, 3)
    return {
        ".tif": "",
        ".png": "" if png else f"PNG holds uint8, and uint16 without colour; {needs}",
        ".jpg": "" if jpg else f"JPEG holds uint8, grey or colour; {needs}",
    }


def allowed_formats(dtype: str | np.dtype, *, channels: int = 1) -> tuple[str, ...]:
    """File formats that can hold a number type.

    Parameters
    ----------
    dtype, channels
        As in `judge_formats`.

    Returns
    -------
    tuple of str
        Of ``".tif"``, ``".png"`` and ``".jpg"``.

    Examples
    --------
    >>> allowed_formats("uint8"), allowed_formats("uint16"), allowed_formats("float32")
    (('.tif', '.png', '.jpg'), ('.tif', '.png'), ('.tif',))
    """
    return tuple(name for name, reason in judge_formats(dtype, channels=channels).items() if not reason)


def check_choice(
    bounds: Sequence[float] | None, dtype: str | np.dtype, format: str = ".tif", *, channels: int = 1
) -> None:
    """Refuse a number type that cannot hold the bounds, and a format that cannot hold the type.

    Parameters
    ----------
    bounds
        Lowest and highest value of the tiles; None when values stay as they are, which allows every type.
    dtype, format, channels
        As in `judge_types` and `judge_formats`.

    Raises
    ------
    ValueError
        With the reason, and what can be chosen instead.

    Examples
    --------
    >>> check_choice((0, 1), "uint8")
    Traceback (most recent call last):
    ValueError: dtype must be float32 for bounds 0 to 1; got uint8: uint8 would leave two values between 0 to 1.
    """
    name = np.dtype(dtype).name
    reasons = judge_types(bounds) if bounds is not None else {name: ""}
    if reasons.get(name, "it is not a type of normalised tiles"):
        can = " or ".join(key for key, reason in reasons.items() if not reason) or "none of ours"
        between = f"{bounds[0]:g} to {bounds[1]:g}"
        reason = reasons.get(name, "it is not a type of normalised tiles")
        raise ValueError(f"dtype must be {can} for bounds {between}; got {name}: {reason}.")
    files = judge_formats(name, channels=channels)
    if files.get(format, "it is not a format of ours"):
        can = " or ".join(key for key, reason in files.items() if not reason)
        reason = files.get(format, "it is not a format of ours")
        raise ValueError(f"format must be {can} for {name}; got {format}: {reason}.")


def check_bounds(bounds: Sequence[float]) -> tuple[float, float]:
    """Return the bounds as two numbers, the lower one first, or refuse them."""
    pair = tuple(bounds)
    if len(pair) != 2 or not np.all(np.isfinite(pair)) or not pair[0] < pair[1]:
        raise ValueError(f"bounds must be two numbers, the lower one first; got {bounds!r}.")
    return pair[0], pair[1]
