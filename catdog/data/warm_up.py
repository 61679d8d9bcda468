"""Photos decoded into the cache, with a progress bar, while torch is imported, which takes seconds and one core.

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
from dataclasses import replace
from typing import Any

from catdog.base.progress import bar
from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.worker import start_python
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data import pixel_cache
from catdog.data.cache_folder import folder_of
from catdog.data.decode_pool import DecodePool
from catdog.data.splits import photo_folder, train_and_val


class WarmUp:
    """Decodes the photos that a training by `config` will ask for into the cache, from `__enter__` to `__exit__`.

    config: with its folders settled; the drawn set is drawn before, if it is wanted and not there. What goes wrong with
    decoding is left to the training, which will meet it too.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "WarmUp":
        photos = self._config.photos
        if os.environ.get("WORLD_SIZE", "1") != "1":
            return self
        config = replace(self._config, photos=replace(photos, data=str(photo_folder(photos))))
        if photos.cache != "none":
            with contextlib.suppress(OSError):  # no process can be started, or it was killed
                self._process = start_python("from catdog.data.warm_up import serve; serve()")
                assert self._process.stdin is not None
                self._process.stdin.write(json.dumps(to_toml(config)).encode() + b"\n")
                self._process.stdin.flush()
        return self

    def end_bar(self) -> None:
        """End the process's progress bar, so that others can be shown and lines be printed."""
        if self._process is not None and self._process.stdin is not None and self._process.stdout is not None:
            with contextlib.suppress(OSError):  # it has ended
                self._process.stdin.write(b"\n")
                self._process.stdin.flush()
                self._process.stdout.readline()

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process.communicate()  # closes the pipes, which before would be a second signal


def serve() -> None:
    """Be the process: standard input is a line, the configuration, one that ends the bar, and ends with who asked."""
    with contextlib.suppress(Exception, Interrupted), Signals(stop_at_once):
        config = parse_config(json.loads(sys.stdin.buffer.readline()), "the configuration")
        shown = bar("decoding", delay=0.1)  # nothing of what is decoded already
        threading.Thread(target=_obey, args=(shown,), daemon=True).start()
        photos = config.photos
        listings = train_and_val(photos.data, photos.val_share, config.run.seed)
        shown.total = sum(map(len, listings))
        with DecodePool(photos.image_size, config.run.threads, len(listings[0])) as pool:
            for listing in listings:
                pixel_cache.decode_all(
                    listing,
                    photos.image_size,
                    cache=str(folder_of(photos.cache)),  # or nothing: memory here is of no use
                    limit=photos.cache_limit,
                    strict=photos.strict,
                    progress=shown.update,
                    pool=pool,
                )
        shown.close()
    os._exit(0)  # the other thread still waits at standard input


def _obey(shown: Any) -> None:
    """End the bar when asked to, and this process when the other end is closed."""
    if sys.stdin.buffer.readline():
        shown.close()
        print(flush=True)
        sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
