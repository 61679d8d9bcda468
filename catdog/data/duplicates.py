"""Finds photo files that hold the same bytes: copies of training photos among those to validate on."""

import hashlib
import os
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress

from catdog.base.text import in_shell, many, on_one_line
from catdog.data.listing import Listing
from catdog.errors import ImageError
from catdog.images.packed_paths import open_photo, stat_photo

_TAIL = 4096


def exact_copies(paths: Sequence[str], across: int = 0) -> list[list[int]]:
    """Groups of indices, ascending, of the files that hold the same bytes; only those with some on each side of
    `across`, where that is given.

    What cannot be read, or is empty, is left out. Few files are read wholly: only those of one size that end alike.
    """
    groups: Iterable[list[int]] = [list(range(len(paths)))]
    for key in (_size, _tail, _digest):
        groups = [group for group in _regroup(groups, paths, key) if not across or group[0] < across <= group[-1]]
    return sorted(groups)


def _regroup(groups: Iterable[list[int]], paths: Sequence[str], key: Callable[[str], Hashable]) -> Iterator[list[int]]:
    for group in groups:
        found: dict[Hashable, list[int]] = {}
        for index in group:
            with suppress(OSError, ImageError):
                found.setdefault(key(paths[index]), []).append(index)
        yield from (alike for alike in found.values() if len(alike) > 1)


def _size(path: str) -> int:
    status = stat_photo(path)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:  # opening a pipe might never end
        raise OSError("not an ordinary file, or empty")
    return status.st_size


def _tail(path: str) -> bytes:
    with open_photo(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        return hashlib.blake2b(file.read(_TAIL), digest_size=16).digest()


def _digest(path: str) -> bytes:
    with open_photo(path) as file:
        return hashlib.file_digest(file, "blake2b").digest()


def exact_copies_across(first: Listing, second: Listing) -> list[tuple[str, str]]:
    """A photo of `first` and one of `second`, for each content that both hold."""
    paths = [listing.path(index) for listing in (first, second) for index in range(len(listing))]
    return [(paths[group[0]], paths[group[-1]]) for group in exact_copies(paths, across=len(first))]


def leak(train: Listing, val: Listing) -> str | None:
    """A warning for whoever is about to train on photos that are validated on too, byte for byte; None without such."""
    copies = exact_copies_across(train, val)
    if not copies:
        return None
    one, other = map(on_one_line, copies[0])
    more = ", and so on" if len(copies) > 1 else ""
    check = f"catdog data check {in_shell(os.path.commonpath((train.root, val.root)))}"
    return (
        f"warning: {many(len(copies), 'photo')} to validate on can be seen in training too, so accuracy will look "
        f"better than it is: {other} is {one}{more}; `{check}` lists all copies."
    )
