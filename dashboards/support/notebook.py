"""Pages in notebook cells without a network: what all Material components share is sent once, not with each of them.

With ``pn.extension(inline=True)`` Panel sends every component with the script of all of them, 1.4 MB, and a page of
more than a hundred of them stops the browser. Here the script goes ahead of the page, and components bring a line that
takes it from there.
"""

from __future__ import annotations

import json
from typing import Any

import panel as pn
from bokeh.models import UIElement
from panel.io.notebook import LOAD_MIME, patch_inline_stylesheets
from panel.models.esm import ReactComponent
from panel_material_ui.base import BUNDLE_PATH

from dashboards.support.template import REPAIR

_AHEAD = "window.graticule_components = new Blob([{script}], {{type: 'text/javascript'}})"
# What Python says of the page, Panel's browser side says back to it; late, that puts an old value in place of a new.
_NO_ECHO = """{
  const manager = Bokeh.Models.get("panel.models.comm_manager.CommManager").prototype
  const changed = manager._document_changed
  manager._document_changed = function(event) { if (event.sync !== false) { changed.call(this, event) } }
}
"""
# the browser keeps what a bundle's first component brought, so this runs once
_TAKEN = f"""{REPAIR}
{_NO_ECHO}
export default (await importShim(URL.createObjectURL(window.graticule_components))).default"""


def share_script() -> None:
    """Send the components' script ahead of a page, when it is shown in a notebook that needs no network."""
    shell = _notebook_shell()
    if shell is None or not pn.config.inline:
        return
    script = _AHEAD.format(script=json.dumps(BUNDLE_PATH.read_text(encoding="utf-8")))
    shell.display_pub.publish({LOAD_MIME: script, "application/javascript": script})
    if _leave_script_out not in pn.viewable.Viewable._preprocessing_hooks:
        pn.viewable.Viewable._preprocessing_hooks.append(_leave_script_out)


def _notebook_shell() -> Any:
    """What runs the cells of a notebook; None elsewhere."""
    try:
        shell = get_ipython()  # type: ignore[name-defined]
    except NameError:
        return None
    return shell if hasattr(shell, "kernel") else None


def _leave_script_out(viewable: Any, root: Any, changed: Any = None, old_models: Any = None) -> None:
    """Take the script from components that are about to be sent."""
    whole = getattr(changed, "_models", {}).get(root.ref["id"], (root,))[0]
    for element in whole.select({"type": UIElement}):
        # Panel does this too, but once the page is in a document, which then looks through all of it for each element
        patch_inline_stylesheets(element)
    for component in whole.select({"type": ReactComponent}):
        # "url" has no script to leave out, and components without a bundle are their script
        if component.bundle not in (None, "url"):
            component.esm = _TAKEN
