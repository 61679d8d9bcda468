"""What the command line names as photos: files, folders, standard input."""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from catdog.base.text import in_shell
from catdog.data.listing import is_address, is_folder, photos_below
from catdog.errors import ImageError


def photos_of(inputs: Sequence[str]) -> Iterator[tuple[str, str | bytes | ImageError]]:
    """What the command line names, photo by photo: files as they are, folders walked, "-" read from standard input."""
    for name in inputs:
        if name == "-":
            yield name, sys.stdin.buffer.read()
        elif is_folder(folder := _place(name)):
            empty, left_out = True, Counter[str]()
            for below in photos_below(folder, left_out):
                empty = False
                yield os.path.join(name, below), os.path.join(folder, below)
            if left_out:
                from catdog.data.names import left_out_in_words

                words = left_out_in_words(left_out)
                print(f"{name}: {words}; catdog data check {in_shell(name)} lists them.", file=sys.stderr)
            if empty:
                yield name, ImageError(f"{name}: the folder holds no photos.")
        else:
            yield name, name


def _place(name: str) -> str:
    """The path that a name means: its own, or of an address of a packed set that of its mirror."""
    if not is_address(name):
        return name
    from catdog.data.remote import local_folder

    return str(local_folder(name))


def photo_count(inputs: Sequence[str]) -> int:
    """How many `photos_of` yields, as far as names tell."""
    places = map(_place, inputs)
    return sum(max(1, sum(1 for _ in photos_below(place))) if is_folder(place) else 1 for place in places)
