"""Colours and fonts of pages, pictures and reports."""

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
