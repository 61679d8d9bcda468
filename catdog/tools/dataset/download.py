"""Fetch one file over HTTP so that an interruption costs nothing: what has come is kept, and the rest asked for."""

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
RETRIES = 3  # times in a row that a connection may break without having brought anything
PAUSE = 2.0  # seconds before another try
_BLOCK = 2**18


def download(url: str, path: Path, algorithm: str, checksum: str) -> None:
    """Fetch `url` into the file `path`, whose `algorithm` ("md5", "sha256") digest must be `checksum`, in hexadecimal.

    What has come so far lies in `path`.part, and the next call goes on from there. CatdogError, one sentence, where
    there is no network or no such file, where the connection keeps breaking, and for a wrong checksum.
    """
    if path.exists() and _digest(path, algorithm) == checksum:
        return
    part = path.with_name(f"{path.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _go_on(url, part, before)
            break
        except _Broken as broken:
            came = _size(part)
            failures = 1 if came > before else failures + 1
            if failures > RETRIES:
                raise CatdogError(
                    f"the download of {url} keeps breaking off ({broken}); {came:,} bytes are kept, "
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


class _Broken(Exception):
    """The connection broke; another try may go on from there."""


def _go_on(url: str, part: Path, start: int) -> None:
    headers = {"User-Agent": f"catdog/{catdog.__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            # All of it has come, or more than there is: the checksum tells.
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
    """-> (the byte that the answer begins with, the length of the whole file where the server tells it)."""
    if response.status == http.client.PARTIAL_CONTENT:
        said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if said and int(said[1]) <= start:
            return int(said[1]), None if said[2] == "*" else int(said[2])
        raise _Broken("the server sent another part than was asked for")
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None  # the server does not know ranges: from the beginning


def _copy(response: Any, file: Any, total: int | None, url: str) -> None:
    with tqdm(
        total=total, initial=file.tell(), desc=url.rsplit("/", 1)[-1], unit="B", unit_scale=True, disable=None
    ) as bar:
        try:
            while block := response.read(_BLOCK):
                file.write(block)
                bar.update(len(block))
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise _Broken(getattr(error, "strerror", None) or str(error) or type(error).__name__) from None
        if total is not None and file.tell() < total:
            raise _Broken(f"after {file.tell():,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
