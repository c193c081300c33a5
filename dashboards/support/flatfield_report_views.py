"""Parts of the flatfield report that move without a server."""

from __future__ import annotations

from collections.abc import Mapping

import holoviews as hv
import numpy as np
from bokeh.layouts import column, row
from bokeh.model import Model
from bokeh.models import ColorBar, ColumnDataSource, CustomJS, RangeSlider, Select

from dashboards.support.colours import ACCENT
from dashboards.support.flatfield_matrix import plot_matrix
from dashboards.support.looks import DIVERGING

LARGEST_MATRIX_BYTES = 9_000_000
"""All matrices behind one layer choice together; base64 makes 12 MB of them."""

_RECOLOUR = """
const [low, high] = cb_obj.value
if (low < high) {
  const reach = Math.max(high - 1, 1 - low)
  const palette = Array.from({length: 256}, (_, step) => {
    const share = Math.min(1, Math.max(-1, (low + (high - low) * step / 255 - 1) / reach))
    return colours[Math.round((share + 1) / 2 * (colours.length - 1))]
  })
  mapper.setv({low, high, palette})
}
"""
_CHOOSE = """
source.data = {...source.data, image: sets.get_column(fields[cb_obj.value])}
heading.text = cb_obj.value
"""


def _lowest_row_first(values, of, names):
    """Matrix as Bokeh draws it, as float32."""
    values = np.asarray(values, dtype=np.float32)
    if values.shape != (len(names), len(names)):
        raise ValueError(f"averages[{of!r}] must have shape {(len(names), len(names))}; got {values.shape}.")
    return np.ascontiguousarray(values[::-1])


def matrix_with_controls(
    averages: Mapping[str, np.ndarray],
    names: list[str],
    *,
    bounds: tuple[float, float] = (0.85, 1.15),
    lines: tuple[int, ...] = (),
) -> Model:
    """Matrix with a slider of its colour bounds and a choice of layers, which work without Python and network.

    Parameters
    ----------
    averages
        Statistic (S, S) of each set of layers by its name, the most wanted first. When all together are larger than
        `LARGEST_MATRIX_BYTES` the last ones are left out, and the choice says so.
    names : list of str, length S
        Slide names in the order of the rows.
    bounds
        Bounds of the colours to start with.
    lines
        Dividing lines: numbers of slides before each line.

    Returns
    -------
    bokeh.model.Model
        Layout for `Report.add_section`.

    Raises
    ------
    ValueError
        If there is no set of layers, or an array does not fit the names.
    """
    if not averages:
        raise ValueError("averages must hold at least one set of layers; got none.")
    kept = list(averages)[: max(1, LARGEST_MATRIX_BYTES // (4 * len(names) ** 2))]
    figure = hv.render(plot_matrix(averages[kept[0]], names, bounds=bounds, lines=lines, title=kept[0]))
    image = next(drawn for drawn in figure.renderers if type(drawn.glyph).__name__ == "Image")
    fields = {name: f"set_{number}" for number, name in enumerate(kept)}
    sets = ColumnDataSource({field: [_lowest_row_first(averages[name], name, names)] for name, field in fields.items()})
    mapper = image.glyph.color_mapper
    for bar in figure.select({"type": ColorBar}):
        bar.color_mapper = mapper
    left_out = len(averages) - len(kept)
    layers = Select(
        title="Layers" + (f" ({len(kept)} of {len(averages)}; the others are in the table)" if left_out else ""),
        options=kept,
        value=kept[0],
        sizing_mode="stretch_width",
    )
    slider = RangeSlider(
        title="Colour bounds",
        start=min(0.5, bounds[0]),
        end=max(1.5, bounds[1]),
        value=bounds,
        step=0.01,
        sizing_mode="stretch_width",
        bar_color=ACCENT,
    )
    slider.js_on_change("value", CustomJS(args={"mapper": mapper, "colours": DIVERGING}, code=_RECOLOUR))
    layers.js_on_change(
        "value",
        CustomJS(
            args={"source": image.data_source, "sets": sets, "fields": fields, "heading": figure.title}, code=_CHOOSE
        ),
    )
    return column(row(layers, slider, sizing_mode="stretch_width", spacing=24), figure, sizing_mode="stretch_width")
