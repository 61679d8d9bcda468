"""Decodes a packed set from the first shard to the last: whole stretches are read then, not a photo here and there."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from catdog.data.decode_pool import DecodedPart, DecodePool
from catdog.data.listing import Listing, WhenAsked
from catdog.images.packed_paths import find_folder


def decode_in_shard_order(listing: Listing, pool: DecodePool, into: np.ndarray) -> Iterator[DecodedPart] | None:
    """As `pool.decode_all` fills `into`, uint8, N x 3 x H x W, with all photos; None where they lie in folders.

    The `rows` of a part are those of the order in which it was read; its `reasons` go by the listing's.
    """
    packed = find_folder(listing.root)
    return None if packed is None else _decode(listing, packed.order(listing.paths), pool, into)


def _decode(listing: Listing, order: np.ndarray, pool: DecodePool, into: np.ndarray) -> Iterator[DecodedPart]:
    paths = WhenAsked(len(order), lambda place: listing.path(int(order[place])))
    for part in pool.decode_all(paths):
        into[order[part.rows]] = part.pixels
        yield replace(part, reasons={int(order[place]): reason for place, reason in part.reasons.items()})
