"""Reads files at an address, of an object store or a web server, by fsspec; a request that fails is repeated."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from catdog.errors import CatdogError

_TRIES = 6
_FAULTS = 3  # whole answers of another content, after which no other is asked for
_DELAY = 0.5  # seconds before the second try, and twice as many before each later one
_TIMEOUT = 30.0  # seconds without an answer, or without more of it
_SLOWEST = 2.5e5  # bytes a second of a line that is shared by all requests, for whose whole answers there is time
_SMALL = 2**20  # bytes, at most, of a file that is read whole
AT_A_TIME = 16  # requests


class StoreError(CatdogError):
    """A store that cannot be read, or holds something else than its index says."""


class Address:
    """The folder at `url`. Threads may read at the same time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._system: tuple[Any, str] | None = None

    def read(
        self, name: str, start: int = 0, stop: int | None = None, fault: Callable[[bytes], str] = lambda data: ""
    ) -> bytes:
        """The bytes of the file `name` from `start` to `stop`, or all.

        A request is repeated, after longer and longer pauses, where the connection fails or `fault` says what is wrong
        with the answer. Raises StoreError when that does not help.
        """
        place = f"{self.url}/{name}"
        reason, mend, faults = "", "", 0
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_DELAY * 2 ** (attempt - 1))
            try:
                data = self._request(name, start, stop)
            except CatdogError:
                raise
            except FileNotFoundError:
                raise StoreError(
                    f"there is no {place}; check the address, or copy the packed set there, whole."
                ) from None
            except Exception as error:  # of fsspec and of each library below it
                reason, mend = _in_words(error), "check the address, the connection and your access"
                if _is_final(error):
                    break
                continue
            if stop is not None and len(data) > stop - start:
                raise StoreError(f"{place} cannot be read in parts: the server answers more than was asked for.")
            if stop is not None and len(data) < stop - start:
                reason, mend = "the answer was cut off", "check the connection"
            elif found := fault(data):
                reason, mend = found, "copy the packed set there again, whole"
                faults += 1
                if faults == _FAULTS:  # it is not the connection
                    break
            else:
                return data
        raise StoreError(f"cannot read {place}: {reason}; {mend}, and run the same command again.")

    def _request(self, name: str, start: int, stop: int | None) -> bytes:
        with self._lock:
            if self._system is None:
                self._system = _open_system(self.url)
        system, root = self._system
        path = f"{root.rstrip('/')}/{name}"
        limits = {} if stop is None else {"start": start, "end": stop}
        if not system.async_impl:
            return bytes(system.cat_file(path, **limits))
        from fsspec.asyn import sync

        size = _SMALL if stop is None else stop - start
        patience = 2 * _TIMEOUT + size * AT_A_TIME / _SLOWEST  # where the system has less of it, that counts
        return bytes(sync(system.loop, system._cat_file, path, **limits, timeout=patience))


def _open_system(url: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path there."""
    try:
        from fsspec.core import url_to_fs

        options: dict[str, Any] = {}
        if url.startswith("http"):
            from aiohttp import ClientTimeout

            # A compressed answer has other bytes than the range that was asked for; a slow one may take its time.
            options["headers"] = {"Accept-Encoding": "identity"}
            options["timeout"] = ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_TIMEOUT)
        system, path = url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        scheme = url.partition(":")[0]
        if isinstance(error, ValueError):
            raise StoreError(
                f"{url} is no address that fsspec knows ({error}); give s3://, gs:// or https://."
            ) from None
        from catdog.base.extras import how_to_install

        install = "pip install gcsfs" if scheme in ("gs", "gcs") else how_to_install("remote")
        raise StoreError(f"reading {scheme}:// needs the extra [remote] of catdog: {install}") from None
    if hasattr(system, "retries"):  # of s3fs and gcsfs, each of which would be repeated by `Store.read`
        system.retries = 1
    return system, path


def _is_final(error: Exception) -> bool:
    """Whether another try would fail too: no access, or a request that the server refuses."""
    status = getattr(error, "status", 0)
    refused = 400 <= status < 500 and status not in (408, 429)
    return refused or isinstance(error, PermissionError) or type(error).__name__ == "NoCredentialsError"


def _in_words(error: Exception) -> str:
    """What went wrong, in a few words on one line."""
    if isinstance(error, TimeoutError):  # fsspec's, for one of aiohttp where the server says nothing
        is_silent = any(kind.__name__ == "ServerTimeoutError" for kind in type(error.__cause__ or error).__mro__)
        return f"no answer for {_TIMEOUT:g} seconds" if is_silent else "no whole answer in time"
    text = re.sub(r"\s+", " ", str(error)).strip()[:200]
    return text or type(error).__name__
