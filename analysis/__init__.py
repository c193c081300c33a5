"""Measurements behind Graticule's instruments; knows no front end."""

__version__ = "0.1.0"
