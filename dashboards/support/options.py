"""A public function's keyword arguments as options of a command: names, defaults and help are the function's own."""

from __future__ import annotations

import inspect
import os
import re
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
from cyclopts import App, Group, Parameter, Token
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict
from cyclopts.exceptions import CycloptsError

RUN = ("executor", "progress", "cancel")
"""Arguments that a command fills in itself."""

HOW = Group("Run", sort_key=100)
"""Heading of the options that every command has."""


def option_names(name: str, spellings: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the spellings of an option, the first one being shown: AstroPath's own where it has one, and ours."""
    ours = "--" + name.replace("_", "-")
    return tuple(dict.fromkeys((*spellings.get(name, ()), ours)))


def options_of(
    function: Callable[..., Any],
    *,
    leave_out: Collection[str] = (),
    spellings: Mapping[str, Sequence[str]] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> list[inspect.Parameter]:
    """Return a function's keyword arguments as options.

    Parameters
    ----------
    function
        With annotations and a numpydoc docstring.
    leave_out
        Arguments that are not options; those in `RUN` never are.
    spellings
        Further spellings of some options, shown before ours.
    defaults
        Defaults that differ from the function's.

    Returns
    -------
    list of inspect.Parameter
        Keyword-only, annotated for Cyclopts.
    """
    hints, helps = typing.get_type_hints(function), help_of(function)
    defaults, spellings = defaults or {}, spellings or {}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=defaults.get(name, argument.default),
            annotation=Annotated[
                _annotated(hints[name], option_names(name, spellings), helps.get(name, "")),
                Parameter(show_default=shown_default(defaults.get(name, argument.default))),
            ],
        )
        for name, argument in inspect.signature(function).parameters.items()
        if argument.kind is argument.KEYWORD_ONLY and name not in {*RUN, *leave_out}
    ]


def options_for(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that are keyword arguments of a function."""
    arguments = inspect.signature(function).parameters
    return {name: value for name, value in options.items() if name in arguments}


def help_of(function: Callable[..., Any]) -> dict[str, str]:
    """Return what a docstring says of each argument, as plain words."""
    parsed = docstring_parser.parse(inspect.getdoc(function) or "", docstring_parser.DocstringStyle.NUMPYDOC)
    return {
        name.strip(): plain_words(entry.description or "")
        for entry in parsed.params
        for name in entry.arg_name.split(",")
    }


def plain_words(text: str) -> str:
    """Return docstring text without its markup, on one line."""
    text = re.sub(r"`+([^`]*)`+", r"\1", text)
    # on a command line an option is not None but absent
    return " ".join(re.sub(r"\bwhen None\b", "when not given", text).split())


def shown_default(value: Any) -> bool | Callable[[Any], str]:
    """Return how help shows a default: as it would be typed, and not at all where there is nothing to type."""
    return False if value is None or value is False or value == () else typed


def typed(value: Any) -> str:
    """Return a value as it is typed: ``0.85,1.15``."""
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)


def first_line(function: Callable[..., Any]) -> str:
    """Return the first line of a docstring."""
    return plain_words((inspect.getdoc(function) or "").partition("\n\n")[0])


def _annotated(hint: Any, names: tuple[str, ...], help_text: str) -> Any:
    parts = [part for part in _members(hint) if part is not types.NoneType]
    if any(typing.get_origin(part) in (tuple, list, Sequence, Iterable) for part in parts):
        item = _item(parts)
        parameter = Parameter(
            name=names,
            help=help_text,
            converter=comma_separated(item, _size(parts)),
            n_tokens=1,
            metavar="A,B",
            negative=(),
        )
        return Annotated[Any, parameter]
    negative: tuple[str, ...] | None = None if parts == [bool] else ()
    parameter = Parameter(name=names, help=help_text, negative=negative)
    return Annotated[_simple(parts, hint), parameter]


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _simple(parts: list[Any], hint: Any) -> Any:
    if any(part is Path or typing.get_origin(part) is os.PathLike or part is os.PathLike for part in parts):
        return Path | None if types.NoneType in _members(hint) else Path
    return hint


def _item(parts: list[Any]) -> type:
    """Type of the values in a list: the scalar beside it, or what stands in its brackets."""
    inner = [
        arg for part in parts for arg in (typing.get_args(part) or (part,)) if arg not in (Ellipsis, types.NoneType)
    ]
    return next((kind for kind in (float, int) if kind in inner), str)


def _size(parts: list[Any]) -> int | None:
    """How many values a fixed-size tuple takes."""
    sizes = [
        len(args)
        for part in parts
        if typing.get_origin(part) is tuple and Ellipsis not in (args := typing.get_args(part))
    ]
    return sizes[0] if sizes else None


def comma_separated(kind: type, size: int | None = None) -> Callable[[Any, Sequence[Token]], Any]:
    """Return a converter of ``a,b`` to a tuple; one number alone stays a number where the size is free.

    Parameters
    ----------
    kind
        `str`, `int` or `float`.
    size
        How many values there must be; any number when None.
    """

    def convert(type_: Any, tokens: Sequence[Token]) -> Any:
        text = ",".join(token.value for token in tokens)
        words = [word.strip() for word in text.split(",") if word.strip()]
        try:
            values = tuple(map(kind, words))
        except ValueError:
            raise ValueError(f"must be numbers separated by commas; got {text!r}.") from None
        if size is not None and len(values) != size:
            raise ValueError(f"must be {size} values separated by commas; got {text!r}.")
        return values[0] if kind is not str and size is None and len(values) == 1 else values

    return convert


def settings_of_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Fill in options from the TOML file given with ``--settings``; what is typed wins over what the file says."""
    given = next((argument for argument in arguments if argument.field_info.name == "settings"), None)
    if given is None or not given.tokens:
        return
    path = Path(given.tokens[0].value)
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CycloptsError(msg=f"--settings must name a file that can be read; {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CycloptsError(msg=f"{path} must be TOML; {error}.") from None
    names = {argument.field_info.name: argument for argument in arguments}
    known = {spelling.lstrip("-").replace("-", "_"): name for name, a in names.items() for spelling in a.names} | {
        name: name for name in names
    }
    unknown = [key for key in settings if key.replace("-", "_") not in known or key == "settings"]
    if unknown:
        options = ", ".join(sorted(name for name in names if name != "settings"))
        raise CycloptsError(msg=f"{path} must hold options of this command; {', '.join(unknown)} not among {options}.")
    chosen = {}
    for key, value in settings.items():
        name = known[key.replace("-", "_")]
        if not names[name].tokens:
            chosen[names[name].names[0].lstrip("-") if names[name].names else name] = value
    Dict(chosen, source=str(path), use_commands_as_keys=False)(app, commands, arguments)
