"""The names of classes that a model file can hold, checked before a network is trained."""

import json
from collections.abc import Iterator
from itertools import islice

from catdog.checkpoint.saved_model import HEADER_LIMIT, why_refused
from catdog.data.listing import Listing
from catdog.errors import CatdogError


def refused_names(classes: tuple[str, ...]) -> Iterator[str]:
    """What `load_model` would refuse of a model of these classes, in a sentence for each."""
    for refused in filter(None, map(why_refused, classes)):
        yield f"{refused}; rename that folder."
    as_json = json.dumps(json.dumps(classes))  # JSON within JSON, in ASCII
    # Beside the name, the header holds a mean colour and a count of each class; a mebibyte is left for all else.
    if len(as_json) + 128 * len(classes) > HEADER_LIMIT - 2**20:
        yield f"the names of {len(classes):,} classes are together too long for a model file; shorten them."


def require_names(listing: Listing) -> None:
    """Raise CatdogError where a model of the classes of `listing` could not be read again."""
    for refused in islice(refused_names(listing.classes), 1):
        raise CatdogError(f"{listing.root}: {refused}")
