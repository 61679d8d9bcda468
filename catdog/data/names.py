"""Names of classes that look alike, or mean the same, and of files that are left out as no photos."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from catdog.base.text import listed, many, on_one_line
from catdog.errors import CatdogError

_NAMED = 5  # endings, at most, that a line names


def quoted(name: str) -> str:
    """The name in quotes, with escapes for what would look like another: 'cat ', 'café', 'cafe\\u0301'."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)


def look_alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of names that differ only in upper and lower case, in spaces, hyphens and underscores, in what has no
    width, or in how their letters are composed."""
    groups: dict[str, list[str]] = {}
    for name in names:
        seen = "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if unicodedata.category(c) != "Cf")
        groups.setdefault(" ".join(re.sub("[_-]", " ", seen).split()), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def told_apart(names: Iterable[str]) -> list[str]:
    """The names as they are shown on one line: in quotes those that look like another of them."""
    names = list(names)
    alike = set(chain.from_iterable(look_alike(names)))
    return [quoted(name) if name in alike else on_one_line(name) for name in names]


def class_key(name: str) -> str:
    """What the names of one class have in common, whoever wrote them: "cat" of Cat, cats and CATS."""
    return name.casefold().removesuffix("s")


def unknown_class(folder: Path, classes: Sequence[str], whose: str) -> CatdogError:
    """The error of a class folder whose name is none of `classes`, which `whose` (a phrase) set."""
    known = listed(list(map(quoted, classes)))
    return CatdogError(
        f"{folder.parent} holds the class {quoted(folder.name)}, which {whose} does not know (it knows {known}); "
        f"{rename_to_known(folder, classes)}."
    )


def rename_to_known(folder: Path, classes: Sequence[str]) -> str:
    """What to do about the class folder `folder`, whose name is none of `classes`."""
    for name in classes:
        if look_alike([folder.name, name]):
            return f"rename {folder} to {name}"
    return "rename or remove that folder"


def no_photos(count: int) -> str:
    """That so many files are left out because of their names."""
    return f"{many(count, 'file')} left out as no {'photo by its name' if count == 1 else 'photos by their names'}"


def left_out_in_words(left_out: Mapping[str, int]) -> str:
    """How many files are left out because of their names, and of what endings."""
    kinds = Counter(left_out).most_common()
    shown = [f"{count:,} {on_one_line(kind[:20]) or 'without an ending'}" for kind, count in kinds[:_NAMED]]
    more = ", ..." if len(kinds) > len(shown) else ""
    count = sum(left_out.values())
    return f"{no_photos(count)} ({', '.join(shown)}{more})"
