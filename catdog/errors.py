"""Errors whose message is written for the user: CatdogError and its subclasses."""


class CatdogError(Exception):
    """An error with a one-sentence message for the user, which names the file or the field and says how to mend it.

    The command line prints it on stderr and exits with status 2; any other exception that reaches it is a defect.
    """


class ImageError(CatdogError):
    """A file or bytes that cannot be decoded to pixels; the message says why."""


class SettingsError(CatdogError):
    """Training stopped because of its settings, not of a file: the loss is NaN or infinite, or memory is exhausted."""
