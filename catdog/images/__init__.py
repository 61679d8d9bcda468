"""Decodes image files: `decode` is the only function that turns a file or bytes into pixels."""

from catdog.images.decoder import decode, decode_and_measure

__all__ = ["decode", "decode_and_measure"]
