"""Colours: told apart by colour-blind eyes, ordered by lightness, and seen on light and dark pages."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from skimage.color import rgb2lab

from analysis.texture import COLOURS
from dashboards.support.circles_picture import _PALETTE as SUPPORTS
from dashboards.support.colours import ACCENT, ACCENT_DARK, CURVE, GROUP_COLOURS, HALO, LINE_RED
from dashboards.support.looks import DIVERGING, diverging_palette
from dashboards.support.page import THEME
from dashboards.support.texture_points import _PALETTES
from dashboards.support.texture_search_plots import _PALETTE as SCORES

# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113, severity 1, for linear red, green and blue.
EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SEQUENTIAL = {**_PALETTES, "scores": SCORES, "supports": SUPPORTS}


def rgb(colours):
    return np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in colours])


def linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(colours, eye="usual"):
    """CIELAB of colours as an eye sees them."""
    seen = np.clip(linear(rgb(colours)) @ np.array(EYES[eye]).T, 0, 1)
    seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(seen[None])[0]


def closest(colours, eye):
    seen = lab(colours, eye)
    return min(float(np.linalg.norm(seen[a] - seen[b])) for a, b in combinations(range(len(seen)), 2))


def contrast(first, second):
    low, high = sorted(float(linear(rgb([each]))[0] @ [0.2126, 0.7152, 0.0722]) for each in (first, second))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eye", EYES)
def test_groups_are_told_apart(eye):
    assert closest(GROUP_COLOURS, eye) > 25
    assert closest(COLOURS[:7], eye) > 15
    assert closest(COLOURS, eye) > 10


@pytest.mark.parametrize("theme", THEME)
def test_group_colours_are_seen_on_the_page(theme):
    ground = THEME[theme]["palette"]["background"]["paper"]
    assert min(contrast(colour, ground) for colour in GROUP_COLOURS) > 1.9
    assert min(contrast(colour, ground) for colour in (CURVE, LINE_RED)) > 2.5


def test_words_are_read_on_both_grounds():
    for accent, (_, look) in zip((ACCENT, ACCENT_DARK), THEME.items(), strict=True):
        palette = look["palette"]
        for ground in palette["background"].values():
            for text in (*palette["text"].values(), accent):
                assert contrast(text, ground) >= 4.5


@pytest.mark.parametrize("name", SEQUENTIAL)
@pytest.mark.parametrize("eye", EYES)
def test_values_are_ordered_by_lightness(name, eye):
    lightness = lab(list(SEQUENTIAL[name]), eye)[:, 0]
    steps = np.diff(lightness) * np.sign(lightness[-1] - lightness[0])
    assert np.abs(lightness[-1] - lightness[0]) > 40
    assert steps.min() > -0.6, "no step back that an eye would see"


@pytest.mark.parametrize("eye", EYES)
def test_what_is_above_is_told_from_what_is_below(eye):
    seen = lab(DIVERGING, eye)
    middle = len(seen) // 2
    assert np.argmax(seen[:, 0]) == pytest.approx(middle, abs=8), "the middle is lightest"
    for away in range(middle // 4, middle + 1, middle // 8):
        assert np.linalg.norm(seen[middle - away] - seen[middle + away]) > 9
    shown = np.linalg.norm(seen[:, None] - lab([LINE_RED, HALO], eye), axis=2).max(axis=1)
    assert shown.min() > 30, "red lines or their halo show on the colours"


def test_the_middle_stays_neutral_when_bounds_are_not_even():
    palette = diverging_palette((0.95, 1.2), count=251)
    assert palette[50] == diverging_palette((0.85, 1.15), count=3)[1]
