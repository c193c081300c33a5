"""What keeps the instruments alike: the shape of functions, results, pages and commands."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import docstring_parser
import panel as pn
import pytest

from dashboards.support.command import app
from dashboards.support.instruments import INSTRUMENTS

REPOSITORY = Path(__file__).parents[1]
DOMAINS = sorted(path.parent.name for path in (REPOSITORY / "analysis").glob("*/__init__.py")
                 if path.parent.name != "synthetic")  # fmt: skip
VERBS = {
    "find", "read", "write", "parse", "make", "compare", "suggest", "register", "create", "apply", "check", "calibrate",
    "assume", "assign", "measure", "watch", "draw", "sort", "choose", "refuse", "select", "save", "cluster", "clean",
    "group", "fit", "cut", "merge", "normalise", "resample", "convert", "judge", "export", "remove", "split",
    "detect", "plan", "run", "aggregate", "open", "prepare", "estimate", "search", "correct", "embed",
}  # fmt: skip
NOUNS = {
    "layer_sets", "dividing_lines", "filter_groups", "likeness", "axis_weights", "allowed_types", "allowed_formats",
    "resampled_shape",
}  # fmt: skip
"""Functions that are named for what they return."""


def public(domain):
    module = importlib.import_module(f"analysis.{domain}")
    return {name: getattr(module, name) for name in module.__all__}


def functions():
    return [
        pytest.param(function, id=f"{domain}.{name}")
        for domain in DOMAINS
        for name, function in public(domain).items()
        if inspect.isfunction(function)
    ]


def results():
    return [
        pytest.param(kind, id=f"{domain}.{name}")
        for domain in DOMAINS
        for name, kind in public(domain).items()
        if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and has_table(kind)
    ]


def has_table(kind):
    """Whether a class is the result of an act, and not one thing looked at."""
    return hasattr(kind, "summary") and "table" in {field.name for field in dataclasses.fields(kind)} | set(vars(kind))


def pages():
    return [pytest.param(name, id=name) for name in DOMAINS if (REPOSITORY / "dashboards" / f"{name}.py").exists()]


def dashboard_of(name):
    module = importlib.import_module(f"dashboards.{name}")
    return getattr(module, f"{name.capitalize()}Dashboard")


def test_there_are_domains():
    assert {"flatfield", "exposures"} <= set(DOMAINS)
    assert {name for name in DOMAINS if (REPOSITORY / "dashboards" / f"{name}.py").exists()} == set(DOMAINS)


@pytest.mark.parametrize("function", functions())
def test_functions_are_sentences(function):
    name = function.__name__
    assert name in NOUNS or name.split("_")[0] in VERBS
    keywords = [a for a in inspect.signature(function).parameters.values() if a.kind is a.KEYWORD_ONLY]
    assert all(a.default is not a.empty or a.name not in ("progress", "cancel") for a in keywords)
    names = [a.name for a in keywords]
    for last in ("progress", "cancel"):
        if last in names:
            assert names.index(last) >= len(names) - 2, "progress and cancel stand last"


@pytest.mark.parametrize("function", functions())
def test_docstrings_describe_every_argument(function):
    text = inspect.getdoc(function) or ""
    parsed = docstring_parser.parse(text, docstring_parser.DocstringStyle.NUMPYDOC)
    assert parsed.short_description.endswith(".")
    told = {name.strip(" *") for entry in parsed.params for name in entry.arg_name.split(",")}
    assert told == set(inspect.signature(function).parameters)


@pytest.mark.parametrize("kind", results())
def test_results_are_frozen_with_settings_and_a_summary(kind):
    assert kind.__dataclass_params__.frozen
    names = {field.name for field in dataclasses.fields(kind)}
    assert "settings" in names
    text = inspect.getdoc(kind)
    for name in names:
        assert re.search(rf"^(.*, )?{name}(,.*)?$", text, re.MULTILINE), f"{name} is not described"


@pytest.mark.parametrize("name", pages())
def test_pages_offer_the_same(name):
    dashboard = dashboard_of(name)
    assert issubclass(dashboard, pn.viewable.Viewer)
    for method in ("code", "command", "sidebar", "main", "sync_url", "load_example", "write_report", "outcome"):
        assert callable(getattr(dashboard, method)), method
    shown = dashboard()
    assert shown.code().startswith("from analysis.")
    compile(shown.code(), name, "exec")
    assert shown.command().startswith(f"graticule {name} ")


@pytest.mark.parametrize("name", pages())
def test_instruments_have_command_report_notebook_and_a_place_on_the_front_page(name):
    assert name in [entry.name for entry in INSTRUMENTS]
    acts = set(app[name])
    assert "report" in acts
    assert list((REPOSITORY / "notebooks").glob(f"0?_{name}.ipynb"))
    assert (REPOSITORY / "analysis" / "synthetic" / f"{name}.py").exists()
    assert list((REPOSITORY / "tests" / "benchmarks").glob(f"test_{name}_*.py"))


@pytest.mark.parametrize("name", pages())
def test_every_control_is_explained_or_named(name):
    dashboard = dashboard_of(name)
    for each in dashboard.param.objects(instance=False).values():
        if each.owner is dashboard and each.label is not None and not each.name.startswith("_"):
            assert each.label.strip(), each.name
