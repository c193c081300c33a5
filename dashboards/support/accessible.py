"""What a keyboard and a screen reader need of a page that its components leave out: names, headings, roles, keys.

Material inputs for numbers have two buttons without a name, the page has headings that hold nothing, the title of the
page is none of the first level, and the words that explain a control stand on a mark nobody is told of. All of it is
mended in the browser, because the components offer no way to say it from Python.
"""

from __future__ import annotations

from typing import Any

MEND = """
function mend(root) {
  const set = (each, name, value) => { if (each.getAttribute(name) !== value) { each.setAttribute(name, value) } }
  const label = root.querySelector("label")?.textContent.trim() ?? ""
  for (const head of root.querySelectorAll("h1, h2, h3, h4, h5, h6")) {
    // an empty one only keeps room below the header
    if (!head.textContent.trim()) { set(head, "aria-hidden", "true") }
    else if (head.matches(".MuiTypography-root")) { set(head, "aria-level", head.matches(".title") ? "1" : "2") }
  }
  const steps = [...root.querySelectorAll(".MuiInputAdornment-root > .MuiIconButton-root")]
  if (steps.length === 2 && steps.every(step => !step.textContent.trim())) {
    set(steps[0], "aria-label", `Less ${label}`)
    set(steps[1], "aria-label", `More ${label}`)
  }
  for (const bar of root.querySelectorAll("[role=progressbar]")) { set(bar, "aria-label", "Progress") }
  // sliders of Bokeh, in reports
  for (const handle of root.querySelectorAll(".noUi-handle")) {
    const name = root.querySelector(".bk-slider-title")?.textContent.split(":")[0] ?? ""
    const several = root.querySelectorAll(".noUi-handle").length > 1
    const end = !several ? "" : handle.dataset.handle === "0" ? ", lowest" : ", highest"
    set(handle, "aria-label", (name || "value") + end)
  }
  for (const told of root.querySelectorAll("span[aria-label]:empty")) {
    if (!told.hasAttribute("role")) {
      set(told, "role", "img")
      const input = root.querySelector("input, textarea, [role=combobox]")
      if (input) { set(input, "aria-description", told.getAttribute("aria-label")) }
    }
  }
  // the logo stands beside the title, which leads to the same place
  for (const logo of root.querySelectorAll(".header a:has(> img.logo)")) {
    set(logo, "aria-hidden", "true")
    set(logo, "tabindex", "-1")
  }
  // choices open by a click only
  for (const choice of root.querySelectorAll(".MuiSelect-root > [role=combobox]")) { choice.onkeydown = open_choice }
  for (const holder of root.querySelectorAll(".tabulator-tableholder")) {
    set(holder, "aria-label", "Rows")
    holder.onkeydown = go_through_rows
  }
  for (const handle of root.querySelectorAll('[aria-label="Resize sidebar"]')) { set(handle, "role", "separator") }
  for (const side of root.querySelectorAll("nav > .MuiDrawer-root")) {
    set(side.parentElement, "aria-label", "Settings")
  }
}

// In a table arrow keys go from row to row, and Enter does what a click on the row does.
function go_through_rows(event) {
  const rows = [...event.currentTarget.querySelectorAll(".tabulator-row")]
  const at = rows.findIndex(row => row.matches(":focus"))
  const wanted = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1}[event.key]
  if (wanted !== undefined && rows[wanted]) {
    rows[wanted].tabIndex = -1
    rows[wanted].focus()
    event.preventDefault()
  } else if (event.key === "Enter" && at >= 0) {
    rows[at].querySelector(".tabulator-cell")?.click()
    event.preventDefault()
  }
}

function open_choice(event) {
  const choice = event.currentTarget
  const opens = ["Enter", " ", "ArrowDown", "ArrowUp"].includes(event.key)
  if (opens && choice.getAttribute("aria-expanded") !== "true" && choice.getAttribute("aria-disabled") !== "true") {
    event.preventDefault()
    choice.click()
  }
}

// The components stand in shadow trees within each other, each of which has to be watched for itself.
function keep_mended(start) {
  const seen = new WeakSet()
  const waiting = new Set()
  const observers = []
  let timer = null
  const look = () => {
    timer = null
    for (const root of waiting) {
      waiting.delete(root)
      mend(root)
      for (const each of root.querySelectorAll("*")) { if (each.shadowRoot) { watch(each.shadowRoot) } }
    }
  }
  const later = root => {
    waiting.add(root)
    timer ??= setTimeout(look, 100)
  }
  const watch = root => {
    if (seen.has(root)) { return }
    seen.add(root)
    const observer = new MutationObserver(() => later(root))
    observer.observe(root, {childList: true, subtree: true})
    observers.push(observer)
    later(root)
  }
  watch(start)
  return () => {
    clearTimeout(timer)
    for (const observer of observers) { observer.disconnect() }
  }
}
"""
"""JavaScript: ``keep_mended(root)`` mends all below a root, now and whenever it changes, and returns what ends it."""


def describe_figure(figure: Any) -> None:
    """Give a Bokeh figure a role and a name, for those who do not see it.

    A figure rather than an image, because the tools beside the picture can be used and an image has no parts.

    Parameters
    ----------
    figure
        Of Bokeh; its title, or else its axes, are its name.
    """
    title = figure.title.text if figure.title is not None else ""
    axes = [axis.axis_label for axis in (*figure.left, *figure.below) if getattr(axis, "axis_label", None)]
    name = " ".join(str(title).split()) or " against ".join(axes) or "picture"
    figure.html_attributes = {"role": "figure", "aria-label": name}
