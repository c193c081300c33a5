"""The HTML that every served page starts from: Panel's own, with one repair.

A component written in React holds its value twice, in the model and in React. Panel's `useState` carries what the
model tells over to React, and afterwards writes it back into the model. A value which comes in between is overwritten
by the one before it: a grid of 20 x 20 patches becomes 20 x 19, a button stays grey. Here only what the component
itself changes is written into the model, at once.
"""

PAGE = """{% extends "base.html" %}
{% block postamble %}
{{ super() }}
<script>
(() => {
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
</script>
{% endblock %}
"""
"""Template of `panel_material_ui.Page`."""
