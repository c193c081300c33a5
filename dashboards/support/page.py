"""The page around every instrument: one theme, one header, and what is shown when a page cannot be built."""

import base64
import logging
import os
from collections.abc import Callable

import panel as pn
import panel_material_ui as pmui
from panel.util import edit_readonly

from dashboards.support.colours import ACCENT, ACCENT_DARK, FONTS, INK, LINE, MUTED
from dashboards.support.header import header_links, starts_dark
from dashboards.support.instruments import served_instruments
from dashboards.support.parts import error_banner
from dashboards.support.template import PAGE

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
