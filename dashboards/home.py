"""Front page: the workbench in a sentence, and a card for every instrument."""

import math

import panel as pn
import panel_material_ui as pmui

from analysis import __version__
from dashboards.support.colours import ACCENT
from dashboards.support.dashboard import serve_page
from dashboards.support.instruments import Instrument, served_instruments
from dashboards.support.page import page
from dashboards.support.parts import card, code_box, words

SENTENCE = "See, tweak and export the quality control of your microscope images."
MORE = "Choose what you want to know. Each page starts with sample data or with a folder of yours."
SHELL = """graticule demo
graticule --help"""
_CARD_PX = 404  # what the card with the most words needs
PYTHON = "from analysis.flatfield import compare_mean_images"


def _matrix_picture() -> str:
    """Small comparison matrix of nine slides in three groups, as SVG."""
    groups = (0, 0, 0, 1, 1, 1, 1, 2, 2)
    colours = {0: "#f3eef5", 1: "#b795c9", 2: "#5e2a76"}
    cells = []
    for row, first in enumerate(groups):
        for column, second in enumerate(groups):
            fill = "#c9ced6" if row == column else colours[abs(first - second)]
            cells.append(f'<rect x="{14 * column}" y="{14 * row}" width="13.4" height="13.4" fill="{fill}"/>')
    for position in (3, 7):
        at = 14 * position - 0.3
        cells.append(f'<path d="M{at} 0V126M0 {at}H126" stroke="#c1121f" stroke-width="1.4"/>')
    said = 'role="img" aria-label="slides compared"'
    return f'<svg viewBox="0 0 126 126" width="126" height="126" {said}>{"".join(cells)}</svg>'


def _field_picture() -> str:
    """Small illumination pattern, bright in the middle, as SVG."""
    return (
        '<svg viewBox="0 0 168 126" width="168" height="126" role="img" aria-label="illumination"><defs>'
        '<radialGradient id="light" cx="0.46" cy="0.44" r="0.75"><stop offset="0" stop-color="#f3fbfc"/>'
        f'<stop offset="0.5" stop-color="#8fc3cf"/><stop offset="1" stop-color="{ACCENT}"/></radialGradient></defs>'
        '<rect width="168" height="126" fill="url(#light)"/></svg>'
    )


def _holes_picture() -> str:
    """Small foil with three shots a hole, one hole shot twice, as SVG."""
    holes, shots, marks = [], [], []
    for row in range(4):
        for column in range(9):
            x, y = 19 + 33 * column + 5 * (row - 1.5), 18 + 31 * row - 3 * (column - 4)
            holes.append(f'<circle cx="{x}" cy="{y}" r="12.5"/>')
            places = [(x - 5, y - 3), (x + 5, y - 3), (x, y + 6)]
            shots += [f'<circle cx="{cx}" cy="{cy}" r="3.6"/>' for cx, cy in places]
            if (row, column) in ((1, 2), (2, 6)):
                marks += [f'<circle cx="{cx + 2.2}" cy="{cy + 1.6}" r="3.6"/>' for cx, cy in places]
    return (
        '<svg viewBox="0 0 304 126" width="304" height="126" role="img" aria-label="foil holes">'
        '<rect width="304" height="126" rx="3" fill="#c9ced6"/>'
        f'<g fill="#eef1f4">{"".join(holes)}</g><g fill="{ACCENT}" fill-opacity="0.75">{"".join(shots)}</g>'
        f'<g fill="#e0590b" fill-opacity="0.9">{"".join(marks)}</g></svg>'
    )


def _tiles_picture() -> str:
    """Small image of branched cells under a grid of tiles that overlap, one of them lifted out, as SVG."""
    cells = []
    for x, y, turn in ((42, 34, 10), (108, 84, 40), (154, 30, 75), (36, 98, 120), (178, 100, 20)):
        arms = "".join(
            f'<path d="M{x} {y}q9 -4 {length} 5" transform="rotate({turn + angle} {x} {y})"/>'
            for angle, length in ((0, 19), (75, 24), (150, 17), (215, 22), (290, 20))
        )
        cells.append(f'<g>{arms}<circle cx="{x}" cy="{y}" r="5.5" fill="#e6f2f5"/></g>')
    corners = [(x, y) for y in (0, 41) for x in (0, 60, 121)]
    tiles = "".join(f'<rect x="{x + 1}" y="{y + 1}" width="83" height="83"/>' for x, y in corners)
    image = (
        '<rect width="206" height="126" fill="#22303a"/><g fill="none" stroke="#e6f2f5" stroke-width="1.6" '
        f'stroke-linecap="round">{"".join(cells)}</g>'
    )
    return (
        '<svg viewBox="0 0 304 126" width="304" height="126" role="img" aria-label="tiles"><defs>'
        '<clipPath id="image"><rect width="206" height="126" rx="3"/></clipPath>'
        '<clipPath id="lifted"><rect x="61" y="42" width="83" height="83"/></clipPath></defs>'
        f'<g clip-path="url(#image)">{image}<g fill="{ACCENT}" fill-opacity="0.16" stroke="#9fc6d1" '
        f'stroke-width="1">{tiles}</g><rect x="61" y="42" width="83" height="83" fill="none" stroke="#e0590b" '
        'stroke-width="2"/></g>'
        f'<g transform="translate(158 -21)"><g clip-path="url(#lifted)">{image}</g>'
        '<rect x="61" y="42" width="83" height="83" fill="none" stroke="#e0590b" stroke-width="2"/></g></svg>'
    )


def _circles_picture() -> str:
    """Small night of discs with their circles found, and a chart whose last point is out of its limits, as SVG."""
    discs = ((30, 34, 17), (84, 26, 12), (62, 84, 22), (122, 76, 15), (20, 104, 10), (128, 26, 9), (108, 112, 8))
    filled = "".join(f'<circle cx="{x}" cy="{y}" r="{r}"/>' for x, y, r in discs)
    heights = (70, 58, 66, 74, 61, 68, 63, 22)
    points = [(178 + 16 * place, height) for place, height in enumerate(heights)]
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3.4" fill="{ACCENT}"/>' for x, y in points[:-1])
    x, y = points[-1]
    return (
        '<svg viewBox="0 0 304 126" width="304" height="126" role="img" aria-label="circles"><defs>'
        '<clipPath id="night"><rect width="150" height="126" rx="3"/></clipPath></defs>'
        '<g clip-path="url(#night)"><rect width="150" height="126" fill="#22303a"/>'
        f'<g fill="#cfe0e5" fill-opacity="0.85" stroke="#c77d11" stroke-width="2">{filled}</g></g>'
        '<g stroke="#8a94a3" stroke-width="1.2" fill="none"><path d="M168 65H302"/>'
        '<path d="M168 42H302M168 88H302" stroke-dasharray="4 3"/></g>'
        f'<polyline points="{line}" fill="none" stroke="{ACCENT}" stroke-opacity="0.6" stroke-width="1.6"/>{dots}'
        f'<path d="M{x} {y - 6}l6 6l-6 6l-6 -6z" fill="#c1121f"/></svg>'
    )


def _texture_picture() -> str:
    """Small tiles whose patches have the colours of three clusters, and the patches as points, as SVG."""
    film, hole, crystal = "#0072b2", "#e69f00", "#009e73"
    side, patches = 9, []
    for row in range(14):
        for column in range(18):
            x, y = side * (column + 0.5), side * (row + 0.5)
            in_hole = any((x - cx) ** 2 + (y - cy) ** 2 < r**2 for cx, cy, r in ((38, 36, 24), (128, 92, 27)))
            in_crystal = any(abs(x - cx) + abs(y - cy) < r for cx, cy, r in ((112, 30, 26), (46, 98, 24)))
            fill = hole if in_hole else crystal if in_crystal else film
            box = f'x="{side * column}" y="{side * row}" width="{side}" height="{side}"'
            opacity = 0.6 + 0.07 * ((3 * row + 5 * column) % 4)
            patches.append(f'<rect {box} fill="{fill}" fill-opacity="{opacity:.2f}"/>')
    points = []
    for cx, cy, colour in ((208, 42, film), (272, 34, hole), (258, 96, crystal)):
        for number in range(14):
            # the golden angle spreads points evenly
            angle, away = 2.4 * number, 6.2 * number**0.5
            x, y = cx + away * math.cos(angle), cy + 0.8 * away * math.sin(angle)
            points.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>')
    return (
        '<svg viewBox="0 0 304 126" width="304" height="126" role="img" aria-label="patches"><defs>'
        '<clipPath id="set"><rect width="162" height="126" rx="3"/></clipPath></defs>'
        f'<g clip-path="url(#set)"><rect width="162" height="126" fill="#22303a"/>{"".join(patches)}'
        '<path d="M81 0V126M0 63H162" stroke="#ffffff" stroke-opacity="0.7" stroke-width="1.2"/></g>'
        f'<path d="M176 4V120H302" fill="none" stroke="#8a94a3" stroke-width="1.2"/>{"".join(points)}</svg>'
    )


PICTURES = {
    "flatfield": lambda: _matrix_picture() + _field_picture(),
    "tiles": _tiles_picture,
    "circles": _circles_picture,
    "exposures": _holes_picture,
    "texture": _texture_picture,
}


def _picture(name):
    draw = PICTURES.get(name)
    style = "display:flex;gap:10px;flex-wrap:wrap"
    return pn.pane.HTML(f'<div style="{style}">{draw() if draw else ""}</div>', margin=(0, 0, 10, 0))


def instrument_card(instrument: Instrument) -> pmui.Paper:
    """Card of one instrument: picture, title, question, what goes in and comes out, and the way to its page.

    Parameters
    ----------
    instrument
        The instrument.
    """
    return card(
        _picture(instrument.name),
        words(instrument.title, variant="h6", margin=0),
        words(instrument.question, variant="body1", margin=(2, 0, 8, 0)),
        words(f"From {instrument.takes}", muted=True),
        words(f"to {instrument.gives}.", muted=True),
        pmui.Button(
            label=f"Open {instrument.title}", href=f"./{instrument.name}", variant="contained", margin=(14, 0, 0, 0)
        ),
        sizing_mode=None,
        width=376,
        margin=8,
        sx={"p": 2.5, "minHeight": _CARD_PX, "boxSizing": "border-box"},
    )


def other_ways_card() -> pmui.Paper:
    """Card that says how to work without these pages, and which version this is."""
    return card(
        words("Without a browser", variant="h6", margin=0),
        words("Every page says how to do the same in Python and in the shell, in a notebook or every night.",
              variant="body1", margin=(2, 0, 8, 0)),
        code_box("Shell", SHELL),
        code_box("Python", PYTHON),
        words(f"Graticule {__version__}", muted=True, margin=(14, 0, 0, 0)),
        sizing_mode=None,
        width=376,
        margin=8,
        sx={"p": 2.5, "minHeight": _CARD_PX, "boxSizing": "border-box", "backgroundColor": "background.default"},
    )  # fmt: skip


def build() -> pmui.Page:
    """The front page."""
    return page(
        "",
        main=[
            pmui.Column(
                words(SENTENCE, variant="h5", margin=(0, 8, 4, 8), sx={"fontWeight": 600}),
                words(MORE, muted=True, variant="body1", margin=(0, 8, 16, 8)),
                pn.FlexBox(
                    *[instrument_card(each) for each in served_instruments()], other_ways_card(), align_items="stretch"
                ),
                sizing_mode="stretch_width",
                margin=(32, 32),
            )
        ],
        here="home",
        main_width=1270,
    )


serve_page(__name__, "dashboards.home")
