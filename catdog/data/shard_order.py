"""Orders that suit packed sets: of decoding all photos, from the first shard to the last, and of an epoch from a store.

Whole stretches are read then, not a photo here and there.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from catdog.data.decode_pool import DecodedPart, DecodePool
from catdog.data.listing import Listing, WhenAsked
from catdog.images.packed_paths import find_folder

WINDOW = 16  # shards whose photos are shuffled together


def in_windows(order: np.ndarray, shards: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The photos, rows in `order`, such that the shards come in random order, and each WINDOW of them is used up before
    the next, so that no more need be at hand; of no more than WINDOW shards it is `order` itself.

    order: int, N, shuffled; shards: int, N, the shard of each photo.
    """
    window = rng.permutation(shards.max() + 1) // WINDOW
    return order[np.argsort(window[shards[order]], kind="stable")]


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
