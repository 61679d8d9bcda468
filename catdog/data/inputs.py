"""What the command line names as photos: files, folders, standard input."""

import os
import sys
from collections.abc import Iterator, Sequence

from catdog.data.listing import photos_below
from catdog.errors import ImageError


def photos_of(inputs: Sequence[str]) -> Iterator[tuple[str, str | bytes | ImageError]]:
    """What the command line names, photo by photo: files as they are, folders walked, "-" read from standard input."""
    for name in inputs:
        if name == "-":
            yield name, sys.stdin.buffer.read()
        elif os.path.isdir(name):
            empty = True
            for below in photos_below(name):
                empty = False
                yield os.path.join(name, below), os.path.join(name, below)
            if empty:
                yield name, ImageError(f"{name}: the folder holds no photos.")
        else:
            yield name, name
