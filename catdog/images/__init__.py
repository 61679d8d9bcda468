"""From a file, or bytes, to pixels: `decode` is the one function that does it."""

from catdog.images.decoder import decode, decode_and_measure

__all__ = ["decode", "decode_and_measure"]
