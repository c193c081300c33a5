"""The map tab of the exposures page: all exposures on the stage, and the pictures of the group looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import holoviews as hv
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from dashboards.support.exposures_map import (
    MOST_CIRCLES,
    Colouring,
    ExposureMap,
    colour_alike,
    colour_by_group,
    colour_by_value,
    nearest_exposure,
)
from dashboards.support.exposures_words import group_title, member_words, micrometres
from dashboards.support.exposures_work import Picture, has_pictures
from dashboards.support.parts import card, empty_state, say, words
from dashboards.support.standard_tabs import nothing_yet
from dashboards.support.tabs import Shown, either, live, pane

_INPUTS = ["result", "grid_square", "colour_by", "looked_at", "focus", "predose", "calibrated"]
_SLOTS = 4
_HINT = "Click a mark or a point on the map: the pictures of its group stand here."
_NOTHING = pd.DataFrame(
    {"x_um": [], "y_um": [], "name": [], "acquired": pd.to_datetime([], utc=True), "group": [], "bad": [], "file": []}
)


def map_tab(dashboard: Any, shown: Shown) -> pn.viewable.Viewable:
    """Return the map with the group looked at beside it."""
    content = pn.GridBox(
        card(_map_pane(dashboard, shown)),
        card(_group_view(dashboard)),
        ncols=2,
        sizing_mode="stretch_width",
        styles={"gap": "12px", "grid-template-columns": "minmax(0, 12fr) minmax(0, 8fr)", "align-items": "start"},
        margin=(12, 0),
    )
    return either(dashboard, ["result"], lambda: dashboard.result is not None, content, no_session(dashboard))


def no_session(dashboard: Any) -> pn.viewable.Viewable:
    """Return what stands where no session is yet."""
    return nothing_yet(
        dashboard,
        "Which micrographs were shot twice in one place?",
        "Type the folder of an EPU session (the one with Images-Disc1) on the left",
        "The pictures stand here when the session is read and its beam shift calibrated.",
    )


def _map_pane(dashboard: Any, shown: Shown) -> pn.pane.HoloViews:
    drawn = ExposureMap()
    points = live(lambda: draw_map(dashboard, drawn), dashboard, _INPUTS, shown)
    tap = hv.streams.Tap(source=points)

    def tapped(x: float | None, y: float | None) -> None:
        if dashboard.result is None:
            return
        exposures = dashboard.result.exposures[dashboard.shown()]
        row = nearest_exposure(exposures, x, y, reach_um=drawn.reach_um())
        dashboard.looked_at = "" if row is None else str(exposures["file"].iloc[row])

    tap.add_subscriber(tapped)
    return pane(points)


def draw_map(dashboard: Any, drawn: ExposureMap) -> hv.Points:
    """Return the map of a dashboard as its settings say."""
    result = dashboard.result
    if result is None:
        return drawn.draw(_NOTHING, radius_um=0.1)
    exposures, rows = result.exposures, dashboard.shown()
    colouring = colour_exposures(dashboard)
    if not rows.all():
        exposures = exposures[rows]
        colouring = replace(colouring, values=colouring.values[rows])
    group = dashboard.group()
    chosen = exposures["file"] == dashboard.looked_at if group is None else exposures["group"] == group
    members = int((exposures["group"].to_numpy() >= 0).sum())
    where = "all grid squares" if rows.all() else f"grid square {dashboard.grid_square}"
    capped = f"; circles around the first {MOST_CIRCLES:,} only" if members > MOST_CIRCLES else ""
    title = f"{len(exposures):,} exposures, {where}; {int(exposures['bad'].sum()):,} bad{capped}"
    return drawn.draw(
        exposures,
        radius_um=result.radius_um,
        colouring=colouring,
        chosen=chosen.to_numpy(),
        focus=dashboard.focus,
        title=title,
    )


def colour_exposures(dashboard: Any) -> Colouring:
    """Return the colours of all exposures as a dashboard's settings say."""
    exposures = dashboard.result.exposures
    by = dashboard.colour_by
    if by == "optics group" and dashboard.calibrated is not None:
        table = dashboard.calibrated.optics.table
        numbers = exposures["file"].map(pd.Series(table["optics_group"].to_numpy(), index=table["file"]))
        return colour_by_group(numbers.fillna(0).to_numpy())
    if by == "time":
        since = exposures["acquired"] - exposures["acquired"].min()
        return colour_by_value((since / pd.Timedelta(hours=1)).to_numpy(), "hours since the first")
    if by == "pre-dose" and dashboard.predose is not None:
        table = dashboard.predose.table
        shares = exposures["file"].map(pd.Series(table["share_exposed"].to_numpy(), index=table["file"]))
        return colour_by_value(shares.to_numpy(float), "share of the field exposed before", (0.0, 1.0))
    return colour_alike(len(exposures))


# ---- the group looked at ---------------------------------------------------------------------------------


def _group_view(dashboard: Any) -> pn.viewable.Viewable:
    title, sentence = words("", variant="h6", margin=0), words("", muted=True)
    slots = [_Slot() for _ in range(_SLOTS)]
    hint = empty_state("Choose an exposure", _HINT)
    before = pmui.Button(label="Previous", variant="outlined", size="small")
    after = pmui.Button(label="Next duplicate", variant="outlined", size="small")
    whole = pmui.Button(label="Whole map", variant="text", size="small")
    whole.on_click(lambda _: setattr(dashboard, "focus", None))
    before.on_click(lambda _: dashboard.step(-1))
    after.on_click(lambda _: dashboard.step(1))
    content = pmui.Column(title, sentence, *[slot.panel for slot in slots], sizing_mode="stretch_width")

    def refresh(*_: Any) -> None:
        none = dashboard.result is None or not len(dashboard.result.table)
        before.disabled = after.disabled = none
        say(
            hint[1],
            f"There are no duplicates. {_HINT}" if none else f"{_HINT} The buttons step through the duplicates.",
        )
        members = dashboard.members()
        if not len(members):
            return
        group = dashboard.group()
        if group is None:
            say(title, "This exposure stands alone")
            say(sentence, f"No other one lies within {micrometres(dashboard.result.radius_um)}.")
        else:
            say(title, group_title(dashboard.result, group))
            left_out = len(members) - _SLOTS
            more = f" The first {_SLOTS} are shown; {left_out} more are listed under Groups." if left_out > 0 else ""
            say(sentence, f"Each lies within {micrometres(dashboard.result.radius_um)} of another one.{more}")
        for slot, (_, row) in zip(slots, members.head(_SLOTS).iterrows(), strict=False):
            slot.tell(row, members["acquired"].iloc[0], alone=group is None)
        for slot in slots[len(members) :]:
            slot.panel.visible = False

    def show_pictures(*_: Any) -> None:
        by_file = {picture.file: picture for picture in dashboard.pictures}
        for slot in slots:
            slot.show(by_file.get(slot.file), some=has_pictures(dashboard.images))

    dashboard.param.watch(refresh, ["result", "looked_at", "grid_square"])
    dashboard.param.watch(show_pictures, ["pictures", "looked_at", "images"])
    refresh()
    show_pictures()
    looked_at = either(dashboard, ["result", "looked_at"], lambda: len(dashboard.members()) > 0, content, hint)
    return pmui.Column(
        pmui.Row(before, after, whole), dashboard.picture_job.panel(), looked_at, sizing_mode="stretch_width"
    )


class _Slot:
    """Place of one exposure: its name, when and why, its micrograph and its foil hole."""

    def __init__(self) -> None:
        self.file = ""
        self._name = words("", sx={"fontWeight": 600}, margin=(6, 0, 0, 0))
        self._facts = words("", muted=True, margin=0)
        self._note = words("", muted=True, margin=(2, 0))
        look = {"sizing_mode": "scale_width", "max_width": 320, "min_width": 60, "margin": (4, 4, 4, 0)}
        self._micrograph = pn.pane.PNG(None, alt_text="micrograph", visible=False, **look)
        self._foil_hole = pn.pane.PNG(None, alt_text="foil hole", visible=False, **look)
        pictures = pn.Row(self._micrograph, self._foil_hole, sizing_mode="stretch_width")
        self.panel = pmui.Column(
            self._name, self._facts, pictures, self._note, sizing_mode="stretch_width", visible=False
        )

    def tell(self, row: Any, first_acquired: Any, *, alone: bool) -> None:
        """Say which exposure it is."""
        self.file = row["file"]
        state = "" if alone else " — bad" if row["bad"] else " — kept"
        say(self._name, f"{row['name']}{state}")
        told = row if not alone else {**row, "cause": ""}
        say(self._facts, member_words(told, first_acquired))
        self.panel.visible = True

    def show(self, picture: Picture | None, *, some: bool) -> None:
        """Show its pictures, or say that there are none.

        Parameters
        ----------
        picture
            What was read; None before it is.
        some
            Whether the session has any pictures.
        """
        parts = {"micrograph": b"", "foil hole": b""}
        if picture is not None:
            parts = {"micrograph": picture.micrograph, "foil hole": picture.foil_hole}
        for place, content in zip((self._micrograph, self._foil_hole), parts.values(), strict=True):
            place.param.update(object=content or None, visible=bool(content))
        say(self._note, _picture_words(picture, some))


def _picture_words(picture: Picture | None, some: bool) -> str:
    if not some:
        return "There is no JPEG or PNG beside the XML, and none of the foil hole."
    if picture is None:
        return "Reading pictures."
    said = [] if picture.micrograph else ["No picture of the micrograph."]
    said += (
        [f"Foil hole seen at {picture.taken:%H:%M:%S} (local)."] if picture.foil_hole else ["None of the foil hole."]
    )
    return " ".join([*said, picture.problem])
