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


def in_windows(order: np.ndarray, shards: np.ndarray, steps: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The photos, rows in `order`, in `steps` batches, such that the shards come in random order, and each WINDOW of
    them is used up before the next, so that no more need be at hand; of no more than WINDOW shards they are those of
    `order` itself.

    In a batch the photos lie shard by shard, so that each process finds its slice of it in shards of its own.
    order: int, N, shuffled; shards: int, N, the shard of each photo.
    """
    count = shards.max() + 1
    if count <= WINDOW:
        return np.array_split(order, steps)
    place = rng.permutation(count)
    order = order[np.argsort(place[shards[order]] // WINDOW, kind="stable")]
    return [rows[np.argsort(place[shards[rows]], kind="stable")] for rows in np.array_split(order, steps)]


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
