"""Page chrome of every instrument: one theme, one header, safe words, and the look of all plots.

Text which comes from files (slide IDs, folder names, errors that quote them) may hold HTML. Of the components used
here `Typography`, `Alert`, `Badge`, `Tooltip`, `StaticText` and the titles of `Tabs`, `Accordion` and `Card` execute
it; widgets (`Select`, `MultiChoice`, `TextInput`, `Button`, `Chip`, ...) and plots show it as it is. Put foreign text
on a page with `words`, `say`, `error_banner`, `code_box`, or pass it through `as_text` first.
"""

import base64
import logging
import os
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import JSComponent
from panel.util import edit_readonly

from dashboards.support.accessible import describe_figure
from dashboards.support.header import header_links, starts_dark
from dashboards.support.template import PAGE

ACCENT = "#0f6e84"
ACCENT_DARK = "#5cb8cb"
INK = "#1c2430"
MUTED = "#5b6675"
FAINT = "#8a94a3"
LINE = "#d9dee5"
SOFT = "#9fc6d1"
CURVE = "#c77d11"
LINE_RED = "#c1121f"
HALO = "#ffffff"
NO_VALUE = "#c9ced6"
# Told apart by every kind of colour-blind eye, on a light page and on a dark one; a test simulates it.
GROUP_COLOURS = ("#0f6e84", "#c77d11", "#7927c1", "#8ea96d", "#973000", "#d07ff6", "#5a0afb", "#7e4e45")
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MONOSPACE = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"
SIDEBAR_WIDTH_PX = 340

_SHARED_THEME = {
    "shape": {"borderRadius": 6},
    "typography": {
        "fontFamily": FONTS,
        "fontSize": 13,
        "button": {"textTransform": "none", "fontWeight": 600},
        "overline": {"textTransform": "none", "letterSpacing": 0, "fontWeight": 600, "fontSize": "0.8rem"},
    },
    "components": {
        "MuiTab": {"styleOverrides": {"root": {"textTransform": "none", "fontSize": "0.92rem"}}},
        "MuiButtonBase": {
            "styleOverrides": {"root": {"&.Mui-focusVisible": {"outline": "2px solid", "outlineOffset": "-2px"}}}
        },
        # a label stays readable when what it names cannot be changed
        "MuiFormLabel": {
            "styleOverrides": {"root": {"&.Mui-disabled": {"color": "var(--mui-palette-text-secondary)"}}}
        },
    },
}
THEME = {
    "light": {
        **_SHARED_THEME,
        "palette": {
            "primary": {"main": ACCENT},
            "background": {"default": "#f6f7f9", "paper": "#ffffff"},
            "text": {"primary": INK, "secondary": MUTED},
            "action": {"active": MUTED},
            "divider": LINE,
        },
    },
    "dark": {
        **_SHARED_THEME,
        "palette": {
            "primary": {"main": ACCENT_DARK},
            "background": {"default": "#14181e", "paper": "#1b2027"},
            "text": {"primary": "#e6e9ee", "secondary": "#a4adba"},
            "action": {"active": "#a4adba"},
            "error": {"main": "#ff7b72"},
            "divider": "#343c47",
        },
    },
}
_PAGE_LOOK = {
    "& .header.MuiAppBar-root": {
        "backgroundColor": "background.paper",
        "backgroundImage": "none",
        "color": "text.primary",
        "boxShadow": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    "& .header .title": {"color": "inherit", "fontSize": "1.15rem", "fontWeight": 650},
    "& .header a": {"color": "inherit"},
    # the bar of the page's own state, which is not followed, has no name
    "& .header > .MuiLinearProgress-root": {"display": "none"},
    "& .header .logo": {"height": "1.7em !important"},
    "& .sidebar.MuiDrawer-paper": {"backgroundColor": "background.default"},
}
MARK = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><g fill="none" stroke="#0f8aa5" stroke-width="2.4">'
    '<circle cx="16" cy="16" r="12.4"/><path d="M16 2v28M2 16h28"/></g>'
    '<path d="M9 13v6M23 13v6M13 9h6M13 23h6" stroke="#0f8aa5" stroke-width="1.8"/></svg>'
)
"""The sign of the workbench, an eyepiece graticule, as SVG."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instrument:
    """One instrument of the workbench, as the front page and the header name it.

    Attributes
    ----------
    name
        Name of its page and of its file in this folder's parent.
    title
        Title of its page.
    question
        The question it answers.
    takes
        What it starts from.
    gives
        What leaves it.
    """

    name: str
    title: str
    question: str
    takes: str
    gives: str


INSTRUMENTS = (
    Instrument(
        name="flatfield",
        title="Flatfield",
        question="Which slides share one illumination pattern, and what is it?",
        takes="mean images of your slides, or their fields as TIFF",
        gives="comparison table, groups, registered flatfield models, report",
    ),
    Instrument(
        name="tiles",
        title="Tiles",
        question="How do I cut calibrated, normalised training patches, and put them back?",
        takes="folders of microscope images: TIFF, OME-TIFF, PNG, JPEG",
        gives="tiles of one size and one pixel size, a manifest, merged images, report",
    ),
    Instrument(
        name="circles",
        title="Circles",
        question="What round objects are in last night's acquisitions?",
        takes="folders of images by date, subject and experiment: PNG, TIFF, JPEG",
        gives="a table of all circles, pictures of each image, drift seen over nights, report",
    ),
    Instrument(
        name="exposures",
        title="Exposures",
        question="Which cryo-EM micrographs were shot twice in one place?",
        takes="the folder of an EPU session, finished or still running",
        gives="calibrated beam shift, optics groups, lists of bad files, report",
    ),
    Instrument(
        name="texture",
        title="Texture",
        question="Which patches of a tile set look alike?",
        takes="a folder of tiles: TIFF, PNG, JPEG",
        gives="clusters, scores, classes learnt from a few labels, label images, report",
    ),
)


def served_instruments(folder: Path | None = None) -> tuple[Instrument, ...]:
    """Instruments whose page exists.

    Parameters
    ----------
    folder
        Where the pages are; the folder of the installed package by default.

    Returns
    -------
    tuple of Instrument
        Those with a file ``<name>.py``, in their usual order.
    """
    folder = Path(__file__).resolve().parents[1] if folder is None else Path(folder)
    return tuple(instrument for instrument in INSTRUMENTS if (folder / f"{instrument.name}.py").is_file())


# Text ---------------------------------------------------------------------------------------------------------------

_AS_ENTITY = str.maketrans({character: f"&#{ord(character)};" for character in string.punctuation})


def as_text(text: object) -> str:
    """Markup which shows a text exactly as it is, wherever HTML or Markdown is understood.

    Every punctuation mark becomes a character reference: neither HTML nor Markdown takes one as part of its structure.

    Parameters
    ----------
    text
        Anything; lines stay lines.

    Returns
    -------
    str
        Markup of one paragraph.

    Examples
    --------
    >>> as_text("<b>")
    '&#60;b&#62;'
    """
    lines = [" ".join(line.split()) for line in str(text).strip().splitlines()]
    return "<br>".join(line.translate(_AS_ENTITY) for line in lines)


def words(text: object = "", *, muted: bool = False, variant: str = "body2", **options) -> pmui.Typography:
    """Text on the page, never executed and never taken for markup.

    Parameters
    ----------
    text
        Plain text.
    muted
        Draw it in the secondary colour.
    variant
        Typography variant, such as ``"body2"`` or ``"h6"``.
    **options
        Further options of `panel_material_ui.Typography`.

    Returns
    -------
    panel_material_ui.Typography
        Change its text with `say`.
    """
    look = {"color": "text.secondary" if muted else "text.primary", "overflowWrap": "anywhere", **options.pop("sx", {})}
    options.setdefault("sizing_mode", "stretch_width")
    options.setdefault("margin", (2, 0))
    return pmui.Typography(as_text(text), variant=variant, disable_math=True, sx=look, **options)


def say(pane: pmui.Typography | pmui.Alert, text: object) -> None:
    """Put a plain text on a status line, an error banner or other words; an empty text hides a banner.

    Parameters
    ----------
    pane
        What `words`, `status_line` or `error_banner` returned.
    text
        Plain text.
    """
    pane.object = as_text(text)
    if isinstance(pane, pmui.Alert):
        pane.visible = bool(pane.object)


def status_line(text: object = "") -> pmui.Typography:
    """Quiet line which says what goes on; change it with `say`.

    Parameters
    ----------
    text
        Plain text to start with.
    """
    line = words(text, muted=True, margin=(6, 12), css_classes=["status"])
    line.min_height = 20
    return line


def error_banner(message: object = "", *, severity: str = "error") -> pmui.Alert:
    """Banner for what went wrong, hidden while there is nothing to say; change it with `say`.

    Parameters
    ----------
    message
        Plain text to start with.
    severity
        ``"error"``, ``"warning"``, ``"info"`` or ``"success"``.
    """
    text = as_text(message)
    # By keyword: a positional text becomes a child of its own, which stays when `object` changes.
    return pmui.Alert(
        object=text,
        severity=severity,
        visible=bool(text),
        sizing_mode="stretch_width",
        margin=(6, 12),
        css_classes=["banner"],
        sx={"overflowWrap": "anywhere", "alignItems": "center"},
    )


# Blocks -------------------------------------------------------------------------------------------------------------


def section(title: str, *rows) -> pmui.Column:
    """Group of controls in the sidebar under a small quiet heading.

    Parameters
    ----------
    title
        Heading.
    *rows
        Widgets and words.
    """
    heading = words(title, muted=True, variant="overline", margin=(10, 10, 0, 10), sx={"lineHeight": 1.6})
    return pmui.Column(heading, *rows, sizing_mode="stretch_width", margin=(0, 8, 4, 8))


def card(*content, title: str = "", **options) -> pmui.Paper:
    """Bordered card for a picture or a table.

    Parameters
    ----------
    *content
        What stands on it, from top to bottom.
    title
        Plain text above it.
    **options
        Further options of `panel_material_ui.Paper`.
    """
    heading = [words(title, variant="subtitle2", margin=(0, 0, 6, 0))] if title else []
    options.setdefault("sizing_mode", "stretch_width")
    look = {"border": "1px solid", "borderColor": "divider", "p": 1.5, "minWidth": 0, **options.pop("sx", {})}
    return pmui.Paper(*heading, *content, elevation=0, sx=look, **options)


def empty_state(title: str, sentence: str, button=None) -> pmui.Column:
    """What stands where a picture will be: a title, a sentence that says what to do, perhaps a button.

    Parameters
    ----------
    title
        Plain text.
    sentence
        Plain text.
    button
        Widget below it.
    """
    rows = [
        words(title, variant="h6", margin=0, sx={"textAlign": "center"}),
        words(sentence, muted=True, margin=(6, 0), sx={"textAlign": "center", "maxWidth": "60ch", "mx": "auto"}),
        *([pn.Row(pn.HSpacer(), button, pn.HSpacer(), sizing_mode="stretch_width")] if button is not None else []),
    ]
    return pmui.Column(*rows, sizing_mode="stretch_width", margin=(90, 24))


class CodeBox(JSComponent):
    """Monospaced text with a button that copies it; the text is never taken for markup."""

    title = param.String(default="", doc="Words above the text.")
    text = param.String(default="", doc="The text.")

    _esm = """
    async function copy(text) {
      // The clipboard of the browser is there on https and on localhost only.
      if (navigator.clipboard && window.isSecureContext) { return navigator.clipboard.writeText(text) }
      const area = document.createElement("textarea")
      area.value = text
      area.style.position = "fixed"
      area.style.opacity = "0"
      document.body.append(area)
      area.select()
      const done = document.execCommand("copy")
      area.remove()
      if (!done) { throw new Error("not copied") }
    }

    export function render({model}) {
      const box = document.createElement("div")
      box.className = "box"
      const head = document.createElement("div")
      head.className = "head"
      const title = document.createElement("span")
      const button = document.createElement("button")
      button.type = "button"
      button.textContent = "Copy"
      const text = document.createElement("pre")
      text.tabIndex = 0
      head.append(title, button)
      box.append(head, text)
      const fill = () => {
        title.textContent = model.title
        text.textContent = model.text
        button.setAttribute("aria-label", "Copy " + model.title)
      }
      fill()
      model.on("text", fill)
      model.on("title", fill)
      button.onclick = () => copy(model.text).then(
        () => { button.textContent = "Copied" },
        () => { button.textContent = "Press Ctrl+C"; getSelection().selectAllChildren(text) },
      ).finally(() => setTimeout(() => { button.textContent = "Copy" }, 1600))
      return box
    }
    """

    _stylesheets: ClassVar[list[str]] = [
        f"""
    :host {{ width: 100%; }}
    .box {{ border: 1px solid rgba(127, 140, 160, 0.35); border-radius: 6px; overflow: hidden; }}
    .head {{ display: flex; justify-content: space-between; align-items: center; padding: 4px 6px 4px 12px;
      font: 600 0.8rem {FONTS}; opacity: 0.85; border-bottom: 1px solid rgba(127, 140, 160, 0.25); }}
    button {{ font: 600 0.78rem {FONTS}; color: inherit; background: none; cursor: pointer;
      border: 1px solid rgba(127, 140, 160, 0.45); border-radius: 5px; padding: 3px 10px; min-width: 6em; }}
    button:hover, button:focus-visible {{ background: rgba(127, 140, 160, 0.18); }}
    pre {{ margin: 0; padding: 10px 12px; font: 0.8rem/1.5 {MONOSPACE}; white-space: pre-wrap;
      overflow-wrap: anywhere; max-height: 320px; overflow-y: auto; background: rgba(127, 140, 160, 0.08); }}
    """
    ]


def code_box(title: str, text: str) -> CodeBox:
    """Monospaced text with a one-click copy button; change it by setting its `text`.

    Parameters
    ----------
    title
        Words above the text.
    text
        The text; shown as it is.
    """
    return CodeBox(title=title, text=text, sizing_mode="stretch_width", margin=(6, 0))


# Pages --------------------------------------------------------------------------------------------------------------


def _links():
    """Label and address of the front page and of every instrument."""
    links = [("Front page", "home"), *((instrument.title, instrument.name) for instrument in served_instruments())]
    if os.environ.get("GRATICULE_LOGOUT"):
        links.append(("Log out", "logout"))
    return [(label, f"./{name}") for label, name in links]


def page(title: str, sidebar: list | tuple = (), main: list | tuple = (), *, here: str = "", **options) -> pmui.Page:
    """Whole page with the header, links to the front page and the other instruments, sidebar and content.

    Parameters
    ----------
    title
        Title of the instrument, behind the name of the workbench; may be empty.
    sidebar
        Sections of controls, see `section`; without any there is no sidebar.
    main
        What fills the page.
    here
        Name of the page (``"flatfield"``), which the header marks.
    **options
        Further options of `panel_material_ui.Page`.

    Returns
    -------
    panel_material_ui.Page
        Call its ``servable()``.
    """
    mark = "data:image/svg+xml;base64," + base64.b64encode(MARK.encode()).decode()
    full_title = f"Graticule · {title}" if title else "Graticule"
    made = pmui.Page(
        title=full_title,
        sidebar=list(sidebar),
        main=list(main),
        sidebar_width=SIDEBAR_WIDTH_PX,
        site_url="./home",
        logo=mark,
        theme_config=THEME,
        sx=_PAGE_LOOK,
        busy_indicator=None,
        template=PAGE,
        dark_theme=starts_dark(),
        **options,
    )
    made.header = [pn.HSpacer(), header_links(made, _links(), f"./{here}")]
    _leave_server_state(made)
    if pn.state.curdoc is not None:
        pn.state.curdoc.template_variables.update(
            starts_dark=made.dark_theme, has_sidebar=bool(sidebar), components=made._render_esm(server=True)
        )
    return made


def _leave_server_state(made: pmui.Page) -> None:
    """Have a page no longer follow whether the server is busy.

    It would look through all its parts before and after every event, which takes longer than most answers; the jobs say
    what runs. And the server would keep the page, with all that it shows, long after it was closed.
    """
    for watcher in list(pn.state.param.watchers.get("busy", {}).get("value", ())):
        if getattr(getattr(watcher.fn, "__self__", None), "self", None) is made:
            pn.state.param.unwatch(watcher)
    with edit_readonly(made):
        made.busy = False


def guarded(build: Callable[[], pn.viewable.Viewable]) -> pn.viewable.Viewable:
    """What `build` returns, or a page which says what stopped it.

    Without it an error while a page is built leaves the browser with a spinner and no word.

    Parameters
    ----------
    build
        Builds the page; called once.

    Returns
    -------
    panel.viewable.Viewable
        Call its ``servable()``.
    """
    try:
        return build()
    except Exception as error:  # Whatever it is, the reader of the page must be told.
        logger.exception("The page could not be built.")
        message = str(error) or type(error).__name__
        if not isinstance(error, (ValueError, OSError)):
            message = f"{type(error).__name__}: {message}\nThis is a fault of the program; the server's log has more."
        return page("", main=[pmui.Column(error_banner(message), margin=24, sizing_mode="stretch_width")])


def plain(plot, element) -> None:
    """HoloViews hook with the look of all plots: no outline, no grid, no logo, thin quiet axes.

    Parameters
    ----------
    plot, element
        As HoloViews hands them to a hook.
    """
    figure = plot.state
    figure.outline_line_color = None
    figure.background_fill_alpha = 0
    figure.border_fill_alpha = 0
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.grid.grid_line_color = None
    figure.title.text_font_style = "normal"
    for axis in figure.axis:
        axis.axis_line_color = FAINT
        axis.axis_line_alpha = 0.5
        axis.major_tick_line_color = None
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
    describe_figure(figure)
