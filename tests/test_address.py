"""A page opened with the address of another has its settings, and so the same Python, shell line and table.

That Python and shell line give the table of the page is tested beside each page.
"""

import asyncio
import importlib

import panel as pn
import param
import pytest
from panel.io.location import Location

from dashboards.support.instruments import INSTRUMENTS

NAME = 'a b/ä&=1?#+%20"<i>'
CHANGED = {
    "flatfield": {"layers": "DAPI", "lines_after": ["M1_2", "001"], "sample_regex": "M[12]_(1|2)+"},
    "tiles": {
        "image": "a&b.tif", "percentiles": (1.5, 99.5), "lower": 10.0, "upper": 200.0, "dtype": "uint8",
        "format": ".png",
    },
    "circles": {
        "levels": "Night, Mouse", "image": "d/s/e/1 ä.png", "contrast": (1.0, 99.5), "value": "Mean Intensity",
        "other_value": "R", "by": "", "filters": {"Subject": ["s1", "007"]}, "between": {"R": [1.5, 20.0]},
    },
    "exposures": {"grid_square": "GridSquare_1", "matrix": "21.7 11 11 -21.7"},
    "texture": {
        "set_rows": 2, "set_columns": 3, "pattern": r"r(?P<row>\d+)_c(?P<column>\d+)", "preset": "chosen",
        "statistics": ["std", "mean"], "leave_out": ["edge"], "search_grids": [4, 9], "search_components": [0, 2],
        "classes": ["crystal", "a&b"], "shown": "mean", "across": "mean", "up": "std",
    },
}  # fmt: skip
"""What `another` cannot know."""


def made(name):
    module = importlib.import_module(f"dashboards.{name}")
    return getattr(module, f"{name.capitalize()}Dashboard")


def another(setting):
    """Return a value that a setting may have, and does not have as it comes."""
    if isinstance(setting, param.ListSelector):
        return list(setting.objects)[::-1][:2]
    if isinstance(setting, param.Selector):
        return list(setting.objects)[-1]
    if isinstance(setting, param.Boolean):
        return not setting.default
    if isinstance(setting, param.Range):
        low, high = setting.default
        step = setting.step or 0.25 * (high - low)
        return (low + step, high - step)
    if isinstance(setting, param.Integer):
        return (setting.default or 0) + 2
    if isinstance(setting, param.Number):
        return 0.5 * setting.default if setting.default else 0.375
    return NAME


def synced(dashboard, search, monkeypatch):
    """Put a page under an address; return the address as it changes."""
    location = Location(search=search)
    monkeypatch.setattr(pn.state, "_location", location)
    dashboard.sync_url()
    return location


@pytest.mark.parametrize("name", [entry.name for entry in INSTRUMENTS])
def test_all_settings_stand_in_the_address(name, monkeypatch):
    async def open_both():
        # on a loop that is never waited for, so nothing is looked for in folders that are not there
        kind = made(name)
        first = kind()
        address = synced(first, "", monkeypatch)
        known = CHANGED[name]
        settings = {each: known[each] if each in known else another(first.param[each]) for each in kind.in_url}
        for each, value in settings.items():
            assert value != first.param[each].default, each
            setattr(first, each, value)
        assert {each: getattr(first, each) for each in kind.in_url} == settings
        second = kind()
        synced(second, address.search, monkeypatch)
        assert second.job.error == ""
        assert {each: getattr(second, each) for each in kind.in_url} == settings
        assert (second.code(), second.command()) == (first.code(), first.command())

    asyncio.run(open_both())
