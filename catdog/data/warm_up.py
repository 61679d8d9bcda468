"""The drawn set drawn, and photos decoded into the cache, while torch is imported, which takes seconds and one core.

By a process of its own: in a thread, each photo would wait for the parts of torch that hold Python's lock. The two
processes meet at the drawn set and at the cache's entry, for which the training waits.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, BinaryIO

from catdog.base.progress import bar
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.worker import start_python
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data import pixel_cache
from catdog.data.cache_folder import folder_of
from catdog.data.decode_pool import DecodePool
from catdog.data.splits import SAMPLE, photo_folder, train_and_val


class WarmUp:
    """Decodes the photos that a training by `config` will ask for into the cache, from `__enter__` to `__exit__`.

    config: with its folders settled; the drawn set is drawn before. What goes wrong is left to the training, which will
    meet it too. bar: to be entered while torch is imported; shows how many photos are decoded.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.bar: AbstractContextManager[Any] = nullcontext()

    def __enter__(self) -> "WarmUp":
        photos = self._config.photos
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return self
        self.bar = bar("starting torch", bar_format="{desc} ...")
        if photos.cache != "none" or photos.data == SAMPLE:
            with contextlib.suppress(OSError):  # no process can be started, or it was killed
                self._process = start_python("from catdog.data.warm_up import serve; serve()")
                threading.Thread(target=_show, args=(self._process.stdout, self.bar), daemon=True).start()
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(to_toml(self._config)).encode() + b"\n")
                self._process.stdin.flush()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            with contextlib.suppress(OSError):  # closed now, since before it would be a second signal
                self._process.stdin.close()  # type: ignore[union-attr]


def _show(counts: BinaryIO, shown: Any) -> None:
    """Show what `serve` writes, as long as the bar is not closed."""
    with counts:
        for line in counts:
            if not line.endswith(b"\n"):  # it was ended in the middle of a line
                break
            with shown.get_lock():  # under which it is closed, too
                shown.bar_format = None
                shown.set_description("decoding", refresh=False)
                count, shown.total = map(int, line.split())
                shown.update(count)


def serve() -> None:
    """Be the process: standard input is a line, the configuration, and ends with the one that asked.

    Standard output is a line at each turn: how many photos were decoded in it, and how many there are in all.
    """
    with contextlib.suppress(Exception, Interrupted), Signals(stop_at_once):
        config = parse_config(json.loads(sys.stdin.buffer.readline()), "the configuration")
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        photos = config.photos
        listings = train_and_val(photo_folder(photos), photos.val_share, config.run.seed)
        total = sum(map(len, listings))
        with DecodePool(photos.image_size, config.run.threads, len(listings[0]), photos.resize) as pool:
            for listing in listings if photos.cache != "none" else ():
                pixel_cache.decode_all(
                    listing,
                    photos.image_size,
                    photos.resize,
                    cache=str(folder_of(photos.cache)),  # or nothing: memory here is of no use
                    limit=photos.cache_limit,
                    strict=photos.strict,
                    progress=lambda count: print(count, total, flush=True),
                    pool=pool,
                )
    os._exit(0)  # the other thread still waits at standard input


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()  # nothing comes, until the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)
