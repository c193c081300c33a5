"""The HTML that every served page starts from: Panel's own, with what a visitor sees at once, and with one repair.

What is the same for everybody stands first, up to `OPENED`: the outline of the page, which is seen at once, and then
styles and scripts. The server sends it before it makes the page, see `dashboards.support.early`; when the page comes,
the scripts are ready for it. The styles of Panel are a layer, for here they stand behind those which the components put
into the head, and would overrule the colours of a dark page.

A component written in React holds its value twice, in the model and in React. Panel's `useState` carries what the
model tells over to React, and afterwards writes it back into the model. A value which comes in between is overwritten
by the one before it: a grid of 20 x 20 patches becomes 20 x 19, a button stays grey. Here only what the component
itself changes is written into the model, at once. Cells of notebooks get the same repair, see `notebook.py`.
"""

OPENED = "<!-- from here on it is this visitor's page -->"
"""Where the part ends that is the same for everybody."""

REPAIR = """(() => {
  const component = Bokeh.Models.get("panel.models.esm.ReactComponent").prototype
  const write_back = "targetModel.setv({ [resolvedProp]: value })"
  const hand_out = "return [value, setValue]"
  const write_at_once = `
    const change = React.useCallback((next) => {
      if (target.model.events.includes(resolvedProp)) { return setValue(next) }
      const settled = typeof next === "function" ? next(targetModel.attributes[resolvedProp]) : next
      targetModel.setv({[resolvedProp]: settled})
      setValue(settled)
    }, [])
    return [value, change]`
  const render_code = component._render_code
  component._render_code = function() {
    const code = render_code.call(this)
    if (!code.includes(write_back) || !code.includes(hand_out)) { return code }
    return code.replace(write_back, "").replace(hand_out, () => write_at_once)
  }
})()
"""
"""Script that has React components write into the model what they change, and nothing else; needs ``Bokeh``."""

PAGE = (
    """{% extends "base.html" %}
{% block css_resources %}{% endblock %}
{% block js_resources %}{% endblock %}
{% block loader_css %}
#loader { position: fixed; inset: 0; z-index: 9999; display: flex; flex-direction: column; overflow: hidden;
  background: #f6f7f9; color: #5b6675; font: 14px system-ui, sans-serif; }
#loader .bar { height: 64px; flex: none; display: flex; align-items: center; background: #fff;
  padding: 0 0 0 {{ '126px' if has_sidebar else '72px' }};
  border-bottom: 1px solid #d9dee5; color: #1c2430; font-size: 1.15rem; font-weight: 650; }
#loader .below { flex: 1; display: flex; min-height: 0; }
#loader .side { width: 340px; flex: none; padding: 28px 18px; box-sizing: border-box; border-right: 1px solid #d9dee5; }
#loader .side i { display: block; height: 38px; margin-bottom: 18px; border-radius: 6px; background: #8a94a322; }
#loader .middle { flex: 1; display: grid; place-content: center; justify-items: center; gap: 14px; background: #fff; }
#loader .spinner { width: 26px; height: 26px; border: 3px solid #8a94a344; border-top-color: #0f8aa5;
  border-radius: 50%; animation: turn 1s linear infinite; }
#loader.error .waits { display: none; }
#loader-error { display: none; color: #c1121f; max-width: 60ch; text-align: center; }
@keyframes turn { to { transform: rotate(360deg); } }
@media (prefers-reduced-motion: reduce) { #loader .spinner { animation-duration: 8s; } }
{% if starts_dark %}
#loader { background: #14181e; color: #a4adba; }
#loader .bar { background: #1b2027; border-color: #343c47; color: #e6e9ee; }
#loader .side { border-color: #343c47; }
#loader .middle { background: #1b2027; }
#loader-error { color: #ff7b72; }
{% endif %}
{% endblock %}
{% block postamble %}
{% for raw_css in resources.raw_css %}
<style>{{ raw_css }}</style>
{% endfor %}
{% if components %}
<link rel="preload" as="fetch" crossorigin href="{{ components }}">
{% endif %}
{% endblock %}
{% block loader %}
<div id="loader" role="status">
  <div class="bar">{{ title | e }}</div>
  <div class="below">
    {% if has_sidebar %}<div class="side" aria-hidden="true"><i></i><i></i><i></i><i></i><i></i><i></i></div>{% endif %}
    <div class="middle">
      <span class="spinner"></span><span class="waits">Opening the page</span><div id="loader-error"></div>
    </div>
  </div>
</div>
{{ bokeh_css if bokeh_css }}
<style>
{% for css in resources.css.values() %}
@import url("{{ css }}") layer(panel);
{% endfor %}
</style>
{{ bokeh_js if bokeh_js }}
{% for src in resources.js.values() %}
<script src="{{ src }}"></script>
{% endfor %}
{% for src in resources.js_modules.values() %}
<script src="{{ src }}" type="module"></script>
{% endfor %}
<script>
"""
    + REPAIR
    + """
{% if components %}importShim("{{ components }}"){% endif %}
</script>
"""
    + OPENED
    + """
{% endblock %}
"""
)
"""Template of `panel_material_ui.Page`.

It takes ``starts_dark``, ``has_sidebar`` and ``components``, the address of the components' code, too.
"""
