"""Names of classes: which ones a model file can hold, and which ones people take for each other."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

HEADER_LIMIT = 2**25  # bytes of JSON before the weights of a model file; reading more would take too much memory


def why_refused(name: Any) -> str:
    """Why `name` cannot be a class's, which is a folder's and never a path; empty if it can."""
    if not isinstance(name, str) or not name or name in (".", "..") or len(name) > 255 or set(name) & {"/", "\\", "\0"}:
        return f"{ascii(name):.80} cannot be the name of a class: one has 1 to 255 letters, and no slash or backslash"
    return ""


def are_too_long(names: Sequence[str]) -> bool:
    """Whether the header of a model file cannot hold classes of these names, a mean colour and a count of each."""
    as_json = json.dumps(json.dumps(names))  # JSON within JSON, in ASCII
    return len(as_json) + 128 * len(names) > HEADER_LIMIT - 2**20  # which leaves room for all else


def look_alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in upper and lower case, in spaces, or in how their letters are composed."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def quoted(name: str) -> str:
    """The name in quotes, with escapes for what would look like another: 'cat ', 'café', 'cafe\\u0301'."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)
