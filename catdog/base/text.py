"""Formats names, paths, counts and shares for messages."""

import os
import shlex
from collections.abc import Sequence

MANY = 24  # names in one message, at most


def on_one_line(name: str) -> str:
    """Escape line breaks and other control characters of a file's name; undecodable bytes (surrogates) are kept."""
    return "".join(c if c.isprintable() or c == " " or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in name)


def listed(names: Sequence[str]) -> str:
    """Join names on one line; of more than MANY, the first of them and the number of the others."""
    more = f", and {len(names) - MANY:,} more" if len(names) > MANY else ""
    return on_one_line(", ".join(names[:MANY])) + more


def in_shell(path: str | os.PathLike[str]) -> str:
    """Quote a path for a suggested command, so that a shell takes it as it is, and catdog not for a flag."""
    name = os.fspath(path)
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def many(count: int, what: str) -> str:
    """Format a count with its noun: many(1, "photo") = "1 photo", many(2000, "photo") = "2,000 photos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Format a share of counted photos, such as an accuracy, the same wherever it is shown: 0.8755 = "87.55%"."""
    return f"{share:.2%}"


def in_utf8(text: str) -> str:
    """The text with ? for what UTF-8 cannot hold: the bytes of names of files that are no text (surrogates)."""
    return text.encode("utf-8", "replace").decode()
