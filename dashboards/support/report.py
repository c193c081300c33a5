"""Reports: one HTML file with pictures, tables, settings, versions and fingerprints, which opens with no network.

Bokeh's scripts are written into the file and a content security policy in its head forbids every request. What moves
in a report moves by Bokeh's own widgets and JavaScript, without a server.
"""

import base64
import math
import re
from collections.abc import Mapping
from datetime import datetime
from numbers import Real
from pathlib import Path

import holoviews as hv
import jinja2
import numpy as np
import pandas as pd
from bokeh.embed import components
from bokeh.model import Model
from bokeh.resources import Resources
from markupsafe import Markup

from analysis.files import whole_file
from dashboards.support.accessible import MEND
from dashboards.support.colours import ACCENT, FONTS, INK, LINE, MONOSPACE, MUTED
from dashboards.support.page import MARK

LARGEST_ROWS = 500
"""Longer tables are cut in a report, which then says how many rows were left out."""

SIGN = "Graticule report"
"""Words in the head of each report, by which it is known again."""
PARTS = {part: (f"<!-- begin {part} -->", f"<!-- end {part} -->") for part in ("resources", "body", "scripts")}
"""What stands around the parts of a report; no text in a report can hold them, for ``<`` is written as a reference."""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval';
 style-src 'unsafe-inline'; img-src data: blob:; font-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{{ sign }}">
<title>{{ title }}</title>
<style>{{ style }}</style>
{{ resources }}
</head>
<body>
"""
_TAIL = """
{{ scripts }}
<script>{{ sorting }}</script>
<script>{{ mending }}</script>
</body>
</html>
"""
_BODY = """
<header>{{ mark }}<div><h1>{{ title }}</h1><p class="muted">Graticule report, {{ made }}</p></div></header>
<nav aria-label="Contents"><ol>
{% for section in sections %}<li><a href="#{{ section.anchor }}">{{ section.title }}</a></li>{% endfor %}
</ol></nav>
<main>
{% for section in sections %}
<section id="{{ section.anchor }}">
<h2>{{ section.title }}</h2>
{% for paragraph in section.paragraphs %}<p>{{ paragraph }}</p>{% endfor %}
{% for block in section.blocks %}{{ block }}{% endfor %}
</section>
{% endfor %}
</main>
"""
_TABLE = """<div class="table"><table>
<thead><tr>{% for name in names %}<th scope="col"><button type="button">{{ name }}</button>
<span class="printed">{{ name }}</span></th>{% endfor %}</tr></thead>
<tbody>
{% for cells in rows %}<tr>{% for cell in cells %}<td
{%- if cell.number is not none %} class="number" data-number="{{ cell.number }}"{% endif %}>{{ cell.text }}</td>
{%- endfor %}</tr>
{% endfor %}</tbody></table></div>
{% if left_out %}<p class="muted">{{ left_out }} more rows are not shown here.</p>{% endif %}
"""
_FACTS = """<dl class="{{ kind }}">
{% for name, text in facts %}<div><dt>{{ name }}</dt><dd>{{ text }}</dd></div>{% endfor %}</dl>
"""
_STYLE = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 28px 32px 60px; max-width: 1000px; background: #fff; color: {INK};
  font: 15px/1.5 {FONTS}; }}
header {{ display: flex; gap: 16px; align-items: center; border-bottom: 1px solid {LINE}; padding-bottom: 16px; }}
header svg {{ width: 44px; height: 44px; flex: none; }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 36px 0 8px; padding-top: 4px; overflow-wrap: anywhere; }}
p {{ margin: 6px 0 10px; max-width: 76ch; overflow-wrap: anywhere; }}
a {{ color: {ACCENT}; }}
.muted {{ color: {MUTED}; margin: 2px 0; font-size: 0.9rem; }}
nav ol {{ list-style: none; margin: 14px 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: 4px 18px; }}
nav a {{ text-decoration: none; }}
nav a:hover {{ text-decoration: underline; }}
nav.reports > ol {{ display: block; }}
nav.reports > ol > li {{ margin: 10px 0; }}
nav.reports ol ol {{ margin-top: 2px; font-size: 0.92rem; }}
article {{ border-top: 6px solid {LINE}; margin-top: 48px; padding-top: 28px; }}
.picture {{ margin: 10px 0 18px; border: 1px solid {LINE}; border-radius: 6px; padding: 12px; max-width: 780px; }}
.side-by-side {{ display: flex; gap: 12px; }}
.side-by-side > * {{ flex: 1 1 0; min-width: 0; }}
.printed {{ display: none; }}
.picture img {{ display: block; max-width: 100%; height: auto; margin: 0 auto; }}
dl {{ margin: 10px 0; }}
dt {{ color: {MUTED}; font-size: 0.85rem; }}
dd {{ margin: 0; overflow-wrap: anywhere; }}
dl.summary {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 10px; }}
dl.summary div {{ border: 1px solid {LINE}; border-radius: 6px; padding: 8px 12px; }}
dl.summary dd {{ font-size: 1.1rem; font-weight: 600; }}
dl.list div {{ display: grid; grid-template-columns: minmax(130px, 220px) 1fr; gap: 12px; padding: 4px 0;
  border-bottom: 1px solid #eef1f4; }}
dl.list dd {{ font-family: {MONOSPACE}; font-size: 0.85rem; }}
.table {{ max-height: 460px; overflow: auto; border: 1px solid {LINE}; border-radius: 6px; margin: 10px 0; }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.86rem; font-variant-numeric: tabular-nums; }}
th {{ position: sticky; top: 0; background: #f6f7f9; text-align: left; padding: 0; }}
th button {{ all: unset; cursor: pointer; padding: 6px 10px; display: block; font-weight: 600; }}
th button:focus-visible {{ outline: 2px solid {ACCENT}; outline-offset: -2px; }}
th[aria-sort="ascending"] button::after {{ content: " \\2191"; }}
th[aria-sort="descending"] button::after {{ content: " \\2193"; }}
td {{ padding: 4px 10px; border-top: 1px solid #eef1f4; vertical-align: top; overflow-wrap: anywhere; min-width: 5ch; }}
td.number {{ text-align: right; white-space: nowrap; }}
pre {{ background: #f6f7f9; border: 1px solid {LINE}; border-radius: 6px; padding: 10px 12px; overflow-x: auto;
  font: 0.82rem/1.5 {MONOSPACE}; white-space: pre-wrap; overflow-wrap: anywhere; }}
@page {{ size: A4; margin: 14mm; }}
@media print {{
  body {{ padding: 0; max-width: none; font-size: 10.5pt; }}
  h2 {{ break-after: avoid; margin-top: 22px; }}
  .picture, dl.summary div, tr {{ break-inside: avoid; }}
  .picture {{ width: 600px; border: 0; padding: 0; margin: 6px 0 10px; }}
  .side-by-side .picture {{ width: auto; }}
  article {{ break-before: page; border: 0; margin: 0; padding: 0; }}
  th button {{ display: none; }}
  .printed {{ display: block; padding: 6px 10px; }}
  .table {{ max-height: none; overflow: visible; border: 0; }}
  th {{ position: static; }}
  pre {{ white-space: pre-wrap; }}
  a {{ color: inherit; text-decoration: none; }}
}}
"""
_SORTING = """
for (const head of document.querySelectorAll("th button")) {
  head.addEventListener("click", () => {
    const cell = head.parentElement
    const place = cell.cellIndex
    const body = cell.closest("table").tBodies[0]
    const downwards = cell.getAttribute("aria-sort") === "ascending"
    const value = row => {
      const data = row.cells[place]
      return "number" in data.dataset ? Number(data.dataset.number) : data.textContent
    }
    const compare = (first, second) => {
      const [a, b] = [value(first), value(second)]
      if (typeof a === "number" && typeof b === "number") {
        if (Number.isNaN(a) || Number.isNaN(b)) { return Number.isNaN(a) - Number.isNaN(b) }
        return downwards ? b - a : a - b
      }
      const order = String(a).localeCompare(String(b), undefined, {numeric: true})
      return downwards ? -order : order
    }
    for (const other of cell.parentElement.cells) { other.removeAttribute("aria-sort") }
    cell.setAttribute("aria-sort", downwards ? "descending" : "ascending")
    body.append(...[...body.rows].sort(compare))
  })
}
"""
_ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)


def document(title: str, resources: Markup, body: Markup, scripts: Markup) -> str:
    """Return a whole HTML document which may ask for nothing outside itself.

    Parameters
    ----------
    title
        Its title.
    resources
        Scripts of the head.
    body
        What is seen.
    scripts
        Scripts that draw into the body.
    """

    def marked(part: str, content: Markup) -> Markup:
        begin, end = PARTS[part]
        return Markup(begin) + content + Markup(end)

    return _ENVIRONMENT.from_string(_HEAD + "{{ body }}" + _TAIL).render(
        title=title,
        sign=SIGN,
        style=Markup(_STYLE),
        resources=marked("resources", resources),
        body=marked("body", body),
        scripts=marked("scripts", scripts),
        sorting=Markup(_SORTING),
        mending=Markup(f"{MEND}keep_mended(document.body)"),
    )


class Report:
    """A report in the making.

    Parameters
    ----------
    title
        Title of the report.
    summary
        A few numbers and words, each with its name; they stand on top.
    settings
        Keyword arguments which gave the result.
    versions
        Versions of the programs, each with its name.
    inputs
        Input files, one row each, with their fingerprints.

    Examples
    --------
    >>> report = Report("Two slides", {"slides": 2}, {}, {"graticule": "0.1"}, pd.DataFrame({"file": ["a.bin"]}))
    >>> report.add_section("Comparison", "They share one illumination.")
    >>> "They share one illumination." in report.html()
    True
    """

    def __init__(
        self, title: str, summary: Mapping, settings: Mapping, versions: Mapping, inputs: pd.DataFrame
    ) -> None:
        self.title = title
        self.summary = summary
        self.settings = settings
        self.versions = versions
        self.inputs = inputs
        self._sections: list[tuple[str, str, tuple]] = []

    def add_section(self, title: str, text: str = "", *blocks) -> None:
        """Append a section.

        Parameters
        ----------
        title
            Its heading.
        text
            Plain text; an empty line parts paragraphs.
        *blocks
            What follows, each a HoloViews element, a Bokeh model, a `pandas.DataFrame` (a table which sorts by click),
            PNG as ``bytes`` or as the `pathlib.Path` of a file, a ``str`` (code, as it is), or a ``list`` of these to
            stand side by side.

        Raises
        ------
        TypeError
            If a block is none of these.
        ValueError
            If a picture is not a PNG.
        """
        self._sections.append((title, text, tuple(_checked(block) for block in blocks)))

    def html(self) -> str:
        """The whole report as one HTML document.

        Returns
        -------
        str
            It refers to nothing outside itself.
        """
        sections = [
            ("Summary", "", (_facts(self.summary, "summary"),)),
            *self._sections,
            ("Settings", "", (_facts(self.settings, "list"),)),
            ("Versions", "", (_facts(self.versions, "list"),)),
            ("Inputs", "A file with the same fingerprint has not changed since.", (self.inputs,)),
        ]
        resources, scripts, places = _embed(_drawn([block for _, _, blocks in sections for block in blocks]))
        drawn = [
            {
                "title": title,
                "anchor": f"section-{number}",
                "paragraphs": [part for part in re.split(r"\n\s*\n", text.strip()) if part],
                "blocks": [_block_html(block, places, title) for block in blocks],
            }
            for number, (title, text, blocks) in enumerate(sections, start=1)
        ]
        body = _ENVIRONMENT.from_string(_BODY).render(
            title=self.title,
            made=datetime.now().astimezone().strftime("%d %B %Y, %H:%M %Z"),
            mark=Markup(MARK),
            sections=drawn,
        )
        return document(self.title, resources, Markup(body), scripts)

    def write(self, path: str | Path) -> Path:
        """Write the report, whole or not at all.

        Parameters
        ----------
        path
            File to write, usually ending with ``.html``.

        Returns
        -------
        pathlib.Path
            The file.
        """
        path = Path(path)
        text = self.html()
        with whole_file(path, "w", encoding="utf-8") as handle:
            handle.write(text)
        return path


def _checked(block):
    """The block, pictures as bytes, lists as lists of blocks."""
    if isinstance(block, list | tuple):
        return [_checked(part) for part in block]
    if isinstance(block, bytes | Path):
        content = block.read_bytes() if isinstance(block, Path) else block
        if not content.startswith(b"\x89PNG\r\n\x1a\n"):
            raise ValueError(f"A picture must be a PNG; got {block if isinstance(block, Path) else 'other bytes'}.")
        return content
    if not isinstance(block, (hv.core.Dimensioned, Model, pd.DataFrame, str)):
        raise TypeError(
            "A block must be a HoloViews element, a Bokeh model, a DataFrame, PNG bytes, a Path, a str or a list; "
            f"got {type(block).__name__}."
        )
    return block


def _drawn(blocks):
    """Bokeh models of all HoloViews elements and Bokeh models among the blocks, in their order."""
    models = []
    for block in blocks:
        if isinstance(block, list):
            models += _drawn(block)
        elif not isinstance(block, (bytes, str, pd.DataFrame)):
            models.append(block if isinstance(block, Model) else hv.render(block, backend="bokeh"))
    return models


def _block_html(block, places, title):
    """HTML of a block of a section; that of the pictures of Bokeh comes from the iterator `places`."""
    if isinstance(block, Markup):
        return block
    if isinstance(block, list):
        inside = Markup("").join(_block_html(part, places, title) for part in block)
        return Markup('<div class="side-by-side">{}</div>').format(inside)
    if isinstance(block, pd.DataFrame):
        return table_html(block)
    if isinstance(block, bytes):
        address = "data:image/png;base64," + base64.b64encode(block).decode()
        return Markup('<div class="picture"><img alt="{}" src="{}"></div>').format(title, address)
    if isinstance(block, str):
        return Markup("<pre>{}</pre>").format(block)
    return Markup('<div class="picture">{}</div>').format(next(places))


def _embed(models):
    """BokehJS, the script which draws the models, and an iterator over their places."""
    if not models:
        return Markup(""), Markup(""), iter(())
    used = {type(part).__module__ for model in models for part in model.references()}
    bundles = ["bokeh", *(["bokeh-widgets"] if any(name.startswith("bokeh.models.widgets") for name in used) else [])]
    # `Resources.render()` would add links to what Panel registers with Bokeh.
    parts = Resources(mode="inline", components=bundles).js_raw
    resources = "\n".join(f"<script>{part}</script>" for part in parts)
    script, divisions = components(models)
    return Markup(resources), Markup(script), (Markup(division) for division in divisions)


def _words(value):
    """A setting, a number or a list as plain words."""
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, int):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_words(part)}" for name, part in value.items()) or "none"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_words(part) for part in value) or "none"
    return str(value)


def _facts(facts, kind):
    pairs = [(str(name).replace("_", " ") if kind == "summary" else name, _words(v)) for name, v in facts.items()]
    return Markup(_ENVIRONMENT.from_string(_FACTS).render(facts=pairs, kind=kind))


def _cell(value, numeric):
    missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value))
    if numeric:
        return {"text": "–" if missing else _words(value), "number": math.nan if missing else float(value)}
    return {"text": "–" if missing else _words(value), "number": None}


def table_html(frame: pd.DataFrame, *, largest_rows: int = LARGEST_ROWS) -> Markup:
    """HTML of a table which scrolls when it is long and sorts by a click on a column's name.

    Parameters
    ----------
    frame
        The table; its index is not shown. Cells are shown as they are, never as HTML.
    largest_rows
        Rows behind this number are left out, and a note says how many.

    Returns
    -------
    markupsafe.Markup
        Part of a page.
    """
    numeric = [pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in frame.dtypes]
    rows = [
        [_cell(value, is_number) for value, is_number in zip(values, numeric, strict=True)]
        for values in frame.head(largest_rows).itertuples(index=False, name=None)
    ]
    left_out = max(0, len(frame) - largest_rows)
    return Markup(_ENVIRONMENT.from_string(_TABLE).render(names=list(frame.columns), rows=rows, left_out=left_out))
