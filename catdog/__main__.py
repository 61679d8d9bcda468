"""`python -m catdog` is `catdog`."""

from catdog.cli import entry

entry()
