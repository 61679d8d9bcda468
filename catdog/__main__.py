"""`python -m catdog` is `catdog`."""

from catdog.cli.main import entry

entry()
