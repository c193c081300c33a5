"""What Bokeh asks its classes over and over while pages are made and change, answered once.

Whenever a picture changes, Bokeh looks through every model of its page for those that came and went, and reads of each
model every property that could hold another one: some ten thousand, nearly all of which nobody ever set. What stands
there by default is worked out anew each time, from the whole line of classes. Here it is known of a class which of its
defaults are constants; they hold no model, and are passed over. The results are the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from bokeh.core.has_props import HasProps
from bokeh.core.property.descriptors import PropertyDescriptor
from bokeh.core.property.singletons import Undefined
from bokeh.model import Model, util
from bokeh.settings import settings
from bokeh.util.dataclasses import entries

_overridden_defaults = cache(HasProps._overridden_defaults.__func__)
_GETTERS = ("__get__", "_get", "_get_default")


def quicken() -> None:
    """Have Bokeh do so in this process from now on.

    Signatures of callbacks are no longer examined when they are added, unless BOKEH_PERFORM_ERROR_DIAGNOSTICS says so.
    """
    if "BOKEH_PERFORM_ERROR_DIAGNOSTICS" not in os.environ:
        settings.perform_error_diagnostics = False
    HasProps._overridden_defaults = classmethod(_overridden_defaults)
    PropertyDescriptor.has_unstable_default = _has_unstable_default
    util.visit_immediate_value_references = visit_immediate_value_references


def visit_immediate_value_references(value: Any, visitor: Callable[[Model], None]) -> None:
    """Call a visitor with every model that a value refers to, but not with those that these refer to.

    Stands in for Bokeh's function of the same name.

    Parameters
    ----------
    value
        A model, whose properties are looked through, or what may hold models.
    visitor
        Called once for each reference.
    """
    if not isinstance(value, HasProps):
        _visit_within(value, visitor)
        return
    kept, themed = value._property_values, value.themed_values() or ()
    for name, plain, constant in _properties_with_references(type(value)):
        if plain and name in kept:
            held = kept[name]
        elif constant and name not in themed:
            continue
        else:
            held = getattr(value, name)
        _visit_within(held, visitor)


def _visit_within(held: Any, visitor: Callable[[Model], None]) -> None:
    """Call a visitor with what is a model, and with those within containers."""
    walk = _way_within(type(held))
    if walk is not None:
        walk(held, visitor)


@cache
def _way_within(kind: type) -> Callable[[Any, Callable[[Model], None]], None] | None:
    """How models are found in a value of some type, in the order in which Bokeh asks; None where there can be none."""
    if issubclass(kind, (list, tuple)):
        return _visit_items
    if issubclass(kind, dict):
        return _visit_entries
    if issubclass(kind, Model):
        return _visit_itself
    if issubclass(kind, HasProps):
        return visit_immediate_value_references
    return _visit_fields if is_dataclass(kind) else None


def _visit_itself(held: Model, visitor: Callable[[Model], None]) -> None:
    visitor(held)


def _visit_items(held: Iterable[Any], visitor: Callable[[Model], None]) -> None:
    for item in held:
        _visit_within(item, visitor)


def _visit_entries(held: dict[Any, Any], visitor: Callable[[Model], None]) -> None:
    for key, value in held.items():
        _visit_within(key, visitor)
        _visit_within(value, visitor)


def _visit_fields(held: Any, visitor: Callable[[Model], None]) -> None:
    for _, value in entries(held):
        _visit_within(value, visitor)


@cache
def _properties_with_references(kind: type[HasProps]) -> tuple[tuple[str, bool, bool], ...]:
    """Name of each property that may refer to a model, whether it is read as most are, and is a constant by default."""
    found = []
    for name in kind.properties_with_refs():
        descriptor = kind.lookup(name)
        plain = all(getattr(type(descriptor), get, None) is getattr(PropertyDescriptor, get) for get in _GETTERS)
        found.append((name, plain, plain and _holds_no_model_by_default(descriptor, kind)))
    return tuple(found)


def _holds_no_model_by_default(descriptor: PropertyDescriptor, kind: type[HasProps]) -> bool:
    if _is_made_anew(descriptor, kind) or descriptor.is_unstable(_overridden_defaults(kind).get(descriptor.name)):
        return False
    default, found = descriptor.class_default(kind), list[Model]()
    _visit_within(default, found.append)
    # to read what must be set and is not is an error, and stays one
    return default is not Undefined and not found


@cache
def _is_made_anew(descriptor: PropertyDescriptor, kind: type[HasProps]) -> bool:
    """Whether each model gets a default of its own."""
    # as Bokeh has it, which looks at what the class itself overrides
    overridden = kind.__overridden_defaults__.get(descriptor.name)
    return descriptor.property._may_have_unstable_default() or descriptor.is_unstable(overridden)


def _has_unstable_default(descriptor: PropertyDescriptor, model: HasProps) -> bool:
    return _is_made_anew(descriptor, type(model))
