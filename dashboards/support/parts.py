"""Parts that all pages are put together from: words, banners, cards, boxes of code.

Text which comes from files (slide IDs, folder names, errors that quote them) may hold HTML. Of the components used
here `Typography`, `Alert`, `Badge`, `Tooltip`, `StaticText` and the titles of `Tabs`, `Accordion` and `Card` execute
it; widgets (`Select`, `MultiChoice`, `TextInput`, `Button`, `Chip`, ...) and plots show it as it is. Put foreign text
on a page with `words`, `say`, `error_banner`, `code_box`, or pass it through `as_text` first.
"""

from __future__ import annotations

import string
from typing import ClassVar

import panel as pn
import panel_material_ui as pmui
import param
from panel.custom import JSComponent

from dashboards.support.colours import FONTS, MONOSPACE

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
