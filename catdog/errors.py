"""The one kind of error that a user is meant to read."""


class CatdogError(Exception):
    """One sentence for the user: it names the file or the field, and says how to mend it.

    The command line prints it on stderr and exits with status 2; anything else that escapes is a defect.
    """


class ImageError(CatdogError):
    """A file or a stream of bytes that cannot be turned into pixels; the message says why."""


class SettingsError(CatdogError):
    """A training that cannot go on for its settings, not for a file: its loss is no number, or memory is full."""
