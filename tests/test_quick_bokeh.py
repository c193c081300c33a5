"""Bokeh's answers stay what they are when they are given quickly."""

from __future__ import annotations

import os
import subprocess
import sys

import panel as pn
import panel_material_ui as pmui
import pytest
from bokeh.core.has_props import HasProps
from bokeh.core.property.descriptors import PropertyDescriptor, UnsetValueError
from bokeh.document import Document
from bokeh.model import Model, util
from bokeh.models import (
    CategoricalColorMapper,
    Circle,
    ColorBar,
    ColumnDataSource,
    CustomJSTransform,
    Div,
    GlyphRenderer,
    HoverTool,
    Range1d,
    TabPanel,
    TapTool,
)
from bokeh.plotting import figure
from bokeh.themes import Theme
from bokeh.transform import linear_cmap, transform

import dashboards.support.quick_bokeh as quick
from dashboards.circles import CirclesDashboard
from dashboards.exposures import ExposuresDashboard
from dashboards.flatfield import FlatfieldDashboard
from dashboards.support.page import page
from dashboards.texture import TextureDashboard
from dashboards.tiles import TilesDashboard

PAGES = (FlatfieldDashboard, TilesDashboard, CirclesDashboard, ExposuresDashboard, TextureDashboard)
_overridden_defaults = HasProps._overridden_defaults.__func__
_has_unstable_default = PropertyDescriptor.has_unstable_default


def kinds():
    """All kinds of models that can be made without being told anything, and that can be read."""
    for kind in list(Model.model_class_reverse_map.values()):
        try:
            directly(kind())
        except Exception:  # what must be told something, or is abstract
            continue
        yield kind


def directly(model):
    """What a model refers to: every property is read, as Bokeh does it."""
    found = []
    for name in model.properties_with_refs():
        util.visit_value_and_its_immediate_references(getattr(model, name), found.append)
    return found


def quickly(model):
    found = []
    quick.visit_immediate_value_references(model, found.append)
    return found


def same_everywhere(roots):
    """Compare what all models refer to that roots lead to, twice: reading makes some that were not there before."""
    seen, waiting = {}, list(roots)
    while waiting:
        model = waiting.pop()
        if id(model) in seen:
            continue
        seen[id(model)] = model
        first, direct, again = quickly(model), directly(model), quickly(model)
        assert first == direct == again, model
        waiting += direct
    return seen


def names(models):
    return {type(each).__name__ for each in models.values()}


def test_every_kind_of_model_as_it_is_made():
    made = 0
    for kind in kinds():
        model, made = kind(), made + 1
        same_everywhere([model])
        for name in kind.properties():
            descriptor = kind.lookup(name)
            if isinstance(descriptor, PropertyDescriptor):
                assert quick._has_unstable_default(descriptor, model) == _has_unstable_default(descriptor, model)
        assert quick._overridden_defaults(kind) == _overridden_defaults(kind)
    assert made > 300


@pytest.mark.parametrize("kind", [TabPanel, GlyphRenderer, Circle, ColorBar])
def test_what_must_be_set_and_is_not_is_an_error_as_before(kind):
    for look in (directly, quickly):
        with pytest.raises(UnsetValueError, match="doesn't have a value set"):
            look(kind())


def test_references_through_containers_specifications_and_themes():
    source = ColumnDataSource({"x": [1, 2], "y": [3, 4], "v": [0, 1]})
    shown = figure(title="a", x_range=Range1d(0, 1), tools=[HoverTool(), TapTool()])
    glyphs = shown.scatter(
        "x",
        transform("y", CustomJSTransform(v_func="return xs")),
        color=linear_cmap("v", "Viridis256", 0, 1),
        source=source,
    )
    seen = same_everywhere([shown])
    assert {"LinearColorMapper", "CustomJSTransform", "ColumnDataSource"} <= {
        type(each).__name__ for each in seen.values()
    }
    glyphs.glyph.fill_color = {"field": "v", "transform": CategoricalColorMapper(factors=["a"], palette=["red"])}
    shown.add_layout(Div(text="beside"), "right")
    assert "CategoricalColorMapper" in names(same_everywhere([shown]))
    document = Document(theme=Theme(json={"attrs": {"Title": {"text_color": "red"}, "Grid": {"level": "overlay"}}}))
    document.add_root(shown)
    assert len(same_everywhere([shown])) == len(document.models)


@pytest.mark.parametrize("kind", PAGES, ids=lambda kind: kind.__name__)
def test_pages(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dashboard = kind()
    root = page("A page", dashboard.controls(), [dashboard.main()]).get_root(Document())
    assert len(same_everywhere([root])) > 150
    dashboard.close()


def test_components_tell_what_they_hold():
    field, column = pmui.TextInput(label="a"), pmui.Column()
    root = column.get_root(Document())
    before = len(same_everywhere([root]))
    column.append(field)
    assert len(same_everywhere([root])) > before
    column[:] = [pn.pane.Markdown("b")]
    assert not [each for each in same_everywhere([root]).values() if getattr(each, "class_name", "") == "TextInput"]


def test_quick_where_pages_are_served_and_as_told():
    program = """
import os
from bokeh.model import util
from bokeh.settings import settings
from bokeh.models import Div
from dashboards.support.quick_bokeh import quicken, visit_immediate_value_references as quick
assert util.visit_immediate_value_references is not quick
quicken()
quicken()
assert util.visit_immediate_value_references is quick
try:
    Div().on_change("text", lambda: None)
except ValueError:
    print("examined")
"""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BOKEH_")}
    for told, said in ({}, ""), ({"BOKEH_PERFORM_ERROR_DIAGNOSTICS": "yes"}, "examined"):
        done = subprocess.run([sys.executable, "-c", program], env=plain | told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == said
