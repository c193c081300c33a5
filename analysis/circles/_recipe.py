"""What an image was done with, and what of it has changed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Polarity = Literal["either", "bright", "dark"]
Qc = Literal["png", "jpeg", "none"]
QCS = ("png", "jpeg", "none")
_TINY_UM = 1e-12


@dataclass(frozen=True)
class Recipe:
    """What is asked for.

    Attributes
    ----------
    settings
        Keyword arguments of `detect_circles` that matter, as JSON holds them.
    method
        Version of the method.
    qc
        Kind of picture.
    """

    settings: dict[str, Any]
    method: str
    qc: Qc

    def keywords(self) -> dict[str, Any]:
        """Return the settings as `detect_circles` takes them."""
        return {name: tuple(value) if isinstance(value, list) else value for name, value in self.settings.items()}

    def check(self) -> None:
        """Refuse settings that detection refuses, before any image is read.

        Raises
        ------
        ValueError
            In the words of `detect_circles`.
        """
        # SciPy is not needed while nothing is to be done
        from analysis.circles._detection import check_settings

        how = self.keywords()
        if "radius_um" in how and "pixel_size_um" not in how:
            # what the files say of the size of a pixel may allow any radius
            check_settings(radius_um=how["radius_um"], pixel_size_um=_TINY_UM)
            del how["radius_um"]
        check_settings(**how)


def make_recipe(
    *,
    radius_px: Sequence[float],
    radius_um: Sequence[float] | None,
    pixel_size_um: float | Sequence[float] | None,
    strictness: float,
    polarity: str,
    qc: str,
) -> Recipe:
    """Return what is asked for; settings that change nothing are left out.

    Raises
    ------
    ValueError
        When a setting is none.
    """
    if qc not in QCS:
        raise ValueError(f"qc must be one of {', '.join(QCS)}; got {qc!r}.")
    settings: dict[str, Any] = {"strictness": _number("strictness", strictness), "polarity": polarity}
    name, radii = ("radius_px", radius_px) if radius_um is None else ("radius_um", radius_um)
    settings[name] = _pair(name, radii)
    if pixel_size_um is not None:
        both = isinstance(pixel_size_um, Sequence)
        settings["pixel_size_um"] = (_pair if both else _number)("pixel_size_um", pixel_size_um)
    # looked up when asked for, so that it is the one in force
    method = importlib.import_module("analysis.circles._detection").METHOD
    return Recipe(settings, str(method), qc)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number; got {value!r}.") from None


def _pair(name: str, values: Any) -> list[float]:
    try:
        lowest, highest = values
        return [float(lowest), float(highest)]
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two numbers; got {values!r}.") from None


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Say which settings differ.

    Examples
    --------
    >>> changes({"strictness": 0.3, "radius_px": [8.0, 80.0]}, {"strictness": 0.4, "radius_px": [8.0, 60.0]})
    'radius_px 8,80 -> 8,60, strictness 0.3 -> 0.4'
    """
    names = sorted({*before, *after})
    return ", ".join(
        f"{name} {_typed(before.get(name))} -> {_typed(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    )


def _typed(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(_typed, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
