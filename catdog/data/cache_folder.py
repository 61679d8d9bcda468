"""Where the cache folder is, in which catdog keeps what it can make again: decoded pixels and the drawn set."""

import os
from pathlib import Path

DRAWN = "sample-"  # how the names of drawn sets begin


def default_folder() -> Path:
    """catdog's folder in the user's cache folder (XDG Base Directory Specification); without a home, one that fails."""
    home = os.path.expanduser("~")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path(os.devnull if home == "~" else home, ".cache")) / "catdog"


def is_writable(folder: Path) -> bool:
    """Whether something can be kept in `folder`, which may have to be made for it."""
    return os.access(next(path for path in (folder, *folder.parents) if os.path.exists(path)), os.W_OK | os.X_OK)


def folder_of(cache: str) -> Path:
    """The folder that the setting `cache` means; "none" keeps no pixels, but drawn sets lie in the default one."""
    return default_folder() if cache in ("auto", "none") else Path(cache)
