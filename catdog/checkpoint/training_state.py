"""Writes `last.pt`, the state from which a training is resumed exactly (saved_state.py loads it).

It is written by torch.save. The comment at the end of the zip archive holds a CRC-32 of the rest of the file.
"""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch

from catdog.base.atomic import write_atomic

NO_COMMENT = b"\0\0"  # the end of an archive that torch writes: a comment of length 0


def save_state(path: Path, state: Mapping[str, Any], keep_as: Path | None = None) -> None:
    """Write tensors and plain values to `path` atomically; the file it replaces is kept under the name `keep_as`."""

    def write(file: BinaryIO) -> None:
        checked = _ChecksumWriter(file)
        try:
            torch.save(dict(state), cast(IO[bytes], checked))
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch wraps the error of a full disk
                raise error.__context__ from None
            raise
        file.seek(-len(NO_COMMENT), 2)
        file.write(archive_end(checked.checksum))

    write_atomic(path, write, keep_as)


class _ChecksumWriter:
    """A file that computes the CRC-32 of what is written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.checksum = 0

    def write(self, data: bytes) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def archive_end(checksum: int) -> bytes:
    """The end of the archive: the length of the comment, and the comment, which holds the checksum."""
    comment = f"catdog crc32 {checksum:08x}".encode()
    return struct.pack("<H", len(comment)) + comment
