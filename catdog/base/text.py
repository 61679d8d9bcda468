"""Formats names, counts and shares for messages."""


def on_one_line(name: str) -> str:
    """Escape line breaks and other control characters of a file's name; undecodable bytes (surrogates) are kept."""
    return "".join(c if c.isprintable() or c == " " or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in name)


def many(count: int, what: str) -> str:
    """Format a count with its noun: many(1, "photo") = "1 photo", many(2000, "photo") = "2,000 photos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def percent(share: float) -> str:
    """Format a share of counted photos, such as an accuracy, the same wherever it is shown: 0.8755 = "87.55%"."""
    return f"{share:.2%}"
