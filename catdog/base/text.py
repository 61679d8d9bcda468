"""Formats names and counts for messages."""

import unicodedata


def on_one_line(name: str) -> str:
    """Escape line breaks and other control characters of a file's name; undecodable bytes (surrogates) are kept."""
    return "".join(c if c.isprintable() or c == " " or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in name)


def many(count: int, what: str) -> str:
    """Format a count with its noun: many(1, "photo") = "1 photo", many(2000, "photo") = "2,000 photos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def quoted(name: str) -> str:
    """The name in quotes, with escapes for what would look like another: 'cat ', 'café', 'cafe\\u0301'."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)
