"""Colours of the page that `catdog serve` gives and of those that `catdog export` writes: two style sheets."""

from pathlib import Path

LIGHT = Path(__file__).with_name("light.css")
DARK = Path(__file__).with_name("dark.css")
"""After LIGHT, where it is to be dark."""
