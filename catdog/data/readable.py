"""Leaves broken photos out of a listing, by decoding each photo once."""

import os
from collections.abc import Sequence

from catdog.data.decode_pool import DecodePool
from catdog.data.listing import Listing, Skipped

_SMALL = (8, 8)  # pixels: a large JPEG is decoded at an eighth then


def leave_out_broken(listing: Listing) -> tuple[Listing, Sequence[Skipped]]:
    """The photos that can be read, and the others with the reason."""
    reasons: dict[int, str] = {}
    with DecodePool(_SMALL, os.cpu_count() or 1, len(listing)) as pool:
        for part in pool.decode_all(listing.files):
            reasons.update(part.reasons)
    kept = listing.select([row not in reasons for row in range(len(listing))])
    return kept, [Skipped(listing.path(row), reason) for row, reason in reasons.items()]
