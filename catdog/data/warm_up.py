"""Photos decoded into the cache while torch is imported, which takes seconds and one core.

By a process of its own: in a thread, each photo would wait for the parts of torch that hold Python's lock. The two
processes meet at the cache's entry, for which the training waits.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.worker import start_python
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data import pixel_cache
from catdog.data.cache_folder import folder_of
from catdog.data.decode_pool import DecodePool
from catdog.data.splits import SAMPLE, train_and_val


class WarmUp:
    """Decodes the photos that a training by `config` will ask for into the cache, from `__enter__` to `__exit__`.

    config: with its folders settled. What goes wrong is left to the training, which will meet it too.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "WarmUp":
        photos = self._config.photos
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if photos.cache != "none" and photos.data != SAMPLE and is_alone:
            with contextlib.suppress(OSError):  # no process can be started, or it was killed
                self._process = start_python("from catdog.data.warm_up import serve; serve()")
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(to_toml(self._config)).encode() + b"\n")
                self._process.stdin.flush()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process.communicate()  # closes the pipes, which before would be a second signal


def serve() -> None:
    """Be the process: standard input is a line, the configuration, and ends with the one that asked."""
    with contextlib.suppress(Exception, Interrupted), Signals(stop_at_once):
        config = parse_config(json.loads(sys.stdin.buffer.readline()), "the configuration")
        threading.Thread(target=_stop_with_parent, daemon=True).start()
        photos = config.photos
        listings = train_and_val(photos.data, photos.val_share, config.run.seed)
        with DecodePool(photos.image_size, config.run.threads, len(listings[0])) as pool:
            for listing in listings:
                pixel_cache.decode_all(
                    listing,
                    photos.image_size,
                    cache=str(folder_of(photos.cache)),  # or nothing: memory here is of no use
                    limit=photos.cache_limit,
                    strict=photos.strict,
                    pool=pool,
                )
    os._exit(0)  # the other thread still waits at standard input


def _stop_with_parent() -> None:
    sys.stdin.buffer.read()  # nothing comes, until the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)
