"""Words that several messages share."""


def on_one_line(name: str) -> str:
    """A file's name as it is, but for line breaks and other control characters, which are escaped."""
    return "".join(c if c.isprintable() or c == " " or "\udc80" <= c <= "\udcff" else ascii(c)[1:-1] for c in name)


def many(count: int, what: str) -> str:
    """many(1, "photo") = "1 photo", many(2000, "photo") = "2,000 photos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
