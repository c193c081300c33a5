"""Header of the pages: the way to the others, and light or dark as the visitor chose it last."""

from __future__ import annotations

from typing import ClassVar

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import JSComponent

from dashboards.support.accessible import MEND

THEME_COOKIE = "graticule_theme"
"""Name of the cookie that keeps the theme: ``light`` or ``dark`` when a visitor chose it, else ``system-light`` or
``system-dark``, which is what the browser's machine prefers."""


def starts_dark() -> bool:
    """Tell whether a visitor's page is dark from the start, as his browser remembers."""
    return pn.state.cookies.get(THEME_COOKIE, "").endswith("dark")


class HeaderLinks(JSComponent):
    """Links to the front page and every instrument; the one of this page is marked as such.

    It also keeps the theme in the browser, because the page itself forgets it: as a cookie rather than in the browser's
    store, so that the server draws the next page in the right colours at once.
    """

    links = param.List(default=[], doc="Links from left to right: ``[label, address]``.")
    here = param.String(default="", doc="Address among them that is this page.")
    dark = param.Boolean(default=False, doc="Whether the page is dark; linked to that of the page.")
    cookie = param.String(default=THEME_COOKIE, constant=True, doc="Name of the cookie.")

    _esm = (
        MEND
        + """
    function kept(name) {
      const found = document.cookie.split("; ").find(pair => pair.startsWith(name + "="))
      return found ? found.slice(name.length + 1) : ""
    }

    export function render({model}) {
      const system = matchMedia("(prefers-color-scheme: dark)")
      const keep = value => {
        document.cookie = `${model.cookie}=${value}; path=/; max-age=31536000; samesite=lax`
      }
      const tell = () => { document.documentElement.style.colorScheme = model.dark ? "dark" : "light" }
      let expected = model.dark
      const follow = () => {
        const choice = kept(model.cookie)
        const chosen = choice === "dark" || choice === "light"
        expected = chosen ? choice === "dark" : system.matches
        if (!chosen) { keep(expected ? "system-dark" : "system-light") }
        if (model.dark !== expected) { model.dark = expected }
        tell()
      }
      model.on("dark", () => {
        if (model.dark !== expected) {
          expected = model.dark
          keep(expected ? "dark" : "light")
        }
        tell()
      })
      // a page in another tab may have been switched meanwhile
      const look = () => { if (!document.hidden) { follow() } }
      system.addEventListener("change", follow)
      document.addEventListener("visibilitychange", look)
      model.on("remove", () => {
        system.removeEventListener("change", follow)
        document.removeEventListener("visibilitychange", look)
        rest()
      })
      setTimeout(follow)
      const rest = keep_mended(document.body)

      const nav = document.createElement("nav")
      nav.setAttribute("aria-label", "Instruments")
      for (const [label, address] of model.links) {
        const link = document.createElement("a")
        link.href = address
        link.textContent = label
        if (address === model.here) { link.setAttribute("aria-current", "page") }
        nav.append(link)
      }
      return nav
    }
    """
    )

    _stylesheets: ClassVar[list[str]] = [
        """
    :host { color: inherit; font-size: 0.9rem; font-weight: 500; }
    nav { display: flex; flex-wrap: wrap; justify-content: flex-end; }
    a { color: inherit; text-decoration: none; padding: 6px 12px; border-radius: 6px; white-space: nowrap; }
    a:hover { background: rgba(127, 140, 160, 0.16); }
    a:focus-visible { outline: 2px solid currentColor; outline-offset: -2px; }
    a[aria-current] { font-weight: 700; background: rgba(127, 140, 160, 0.16); }
    """
    ]


def header_links(page: pmui.Page, links: list[tuple[str, str]], here: str) -> HeaderLinks:
    """Return the links of a page's header, which keep its theme.

    Parameters
    ----------
    page
        The page.
    links
        Label and address of each, from left to right.
    here
        Address of the page among them.
    """
    made = HeaderLinks(links=[list(link) for link in links], here=here, dark=page.dark_theme, margin=(0, 8))
    made.jslink(page, dark="dark_theme", bidirectional=True)
    return made
