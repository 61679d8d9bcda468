"""Downloads a file over HTTP; an interrupted download is resumed where it stopped."""

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tqdm import tqdm

import catdog
from catdog.errors import CatdogError

TIMEOUT = 30.0  # seconds without a byte
RETRIES = 3  # times in a row that a connection may break without having transferred anything
PAUSE = 2.0  # seconds before another try
_BLOCK = 2**18


def download(url: str, path: Path, algorithm: str, checksum: str) -> None:
    """Download `url` to the file `path`, whose `algorithm` ("md5", "sha256") digest must be `checksum`, in hexadecimal.

    The bytes received so far are in `path`.part, from which the next call resumes. Raises CatdogError where there is no
    network or no such file, where the connection keeps breaking, and for a wrong checksum.
    """
    if path.exists() and _digest(path, algorithm) == checksum:
        return
    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _resume(url, part, before)
            break
        except _ConnectionBroken as error:
            received = _size(part)
            failures = 1 if received > before else failures + 1
            if failures > RETRIES:
                raise CatdogError(
                    f"the download of {url} keeps breaking off ({error}); {received:,} bytes are kept, "
                    "so run the same command again later to go on."
                ) from None
            time.sleep(PAUSE)
    if _digest(part, algorithm) != checksum:
        part.unlink()
        raise CatdogError(
            f"{url} came with a wrong {algorithm} checksum and was removed; run the same command to fetch it again, "
            "and if it stays wrong, the file there has changed."
        )
    os.replace(part, path)


class _ConnectionBroken(Exception):
    """The connection broke; another try can resume the download."""


def _resume(url: str, part: Path, start: int) -> None:
    headers = {"User-Agent": f"catdog/{catdog.__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # The part is complete or too long: the checksum will tell.
            return
        raise CatdogError(f"{url} cannot be fetched: the server says {error.code} {error.reason}; try later.") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise CatdogError(
            f"cannot reach {url} ({getattr(reason, 'strerror', None) or reason}); check the network connection and "
            "run the same command again, which goes on where it stopped."
        ) from None
    with response:
        start, total = _extent(response, start)
        with open(part, "r+b" if part.exists() else "wb") as file:
            file.truncate(start)
            file.seek(start)
            _copy(response, file, total, url)


def _extent(response: Any, start: int) -> tuple[int, int | None]:
    """Read from the response (the offset of its first byte, the length of the whole file or None if not given)."""
    if response.status == http.client.PARTIAL_CONTENT:
        content_range = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if content_range and int(content_range[1]) <= start:
            return int(content_range[1]), None if content_range[2] == "*" else int(content_range[2])
        raise _ConnectionBroken("the server sent another part than was asked for")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None  # the server does not support ranges: from the beginning


def _copy(response: Any, file: Any, total: int | None, url: str) -> None:
    with tqdm(
        total=total, initial=file.tell(), desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None
    ) as bar:
        try:
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _ConnectionBroken(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
        if total is not None and file.tell() < total:
            raise _ConnectionBroken(f"after {file.tell():,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
