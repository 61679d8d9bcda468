"""Photos decoded while torch is imported, which takes seconds and one core.

By a process of its own: in a thread, each photo would wait for the parts of torch that hold Python's lock.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from catdog.base.signals import Interrupted, Signals, stop_at_once
from catdog.base.worker import python, standard_output
from catdog.config.settings import Config
from catdog.config.toml import parse_config, to_toml
from catdog.data import pixel_cache as cache
from catdog.data.cache_dir import folder_of
from catdog.data.decode_pool import Decoders
from catdog.data.listing import Listing
from catdog.data.splits import SAMPLE, train_and_val
from catdog.runs.paths import check_places, check_unused, settle


class DecodingAhead:
    """Decodes the photos that a training by `config` will ask for into the cache, from `__enter__` on.

    What goes wrong there is left to who asks, and what was not asked for at the end is given up.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "DecodingAhead":
        config = settle(self._config, lambda line: None)
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if config.photos.cache != "none" and config.photos.data != SAMPLE and is_alone:
            with contextlib.suppress(OSError):  # no process can be started, or it was killed
                self._process = python("from catdog.data.warm_up import serve; serve()")
                assert self._process.stdin is not None
                with self._process.stdin as requests:
                    requests.write(to_toml(config).encode("utf-8", "surrogateescape"))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def decode_all(
        self,
        listing: Listing,
        size: tuple[int, int],
        *,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
        **settings: Any,
    ) -> cache.Decoded:
        """As `cache.decode_all`, after the photos that are being decoded already."""
        for _ in progress(self._counts()):
            pass
        return cache.decode_all(listing, size, progress=progress, **settings)

    def _counts(self) -> Iterator[int]:
        """How many photos are decoded at each turn, until all of a listing are."""
        if self._process is not None:
            answers = self._process.stdout
            assert answers is not None
            yield from iter(lambda: int(answers.readline() or 0), 0)


def serve() -> None:
    """Be the process: standard input is a settled configuration, the answer a number a line, 0 after a listing."""
    answers = standard_output()

    def say(count: int) -> None:
        answers.write(b"%d\n" % count)
        answers.flush()

    def progress(done: Iterable[int]) -> Iterator[int]:
        for count in done:
            say(count)
            yield count

    # Whatever goes wrong, the training will meet it too, and say it.
    with contextlib.suppress(Exception, Interrupted), Signals(stop_at_once):
        text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
        config = parse_config(text, "the configuration")
        photos = config.photos
        check_places(config)
        check_unused(Path(config.run.out))
        listings = train_and_val(photos.data, photos.val_share, config.run.seed)
        threads = config.run.threads or os.cpu_count() or 1
        with contextlib.closing(Decoders(photos.image_size, threads, len(listings[0]))) as decoders:
            for listing in listings:
                cache.decode_all(
                    listing,
                    photos.image_size,
                    cache=str(folder_of(photos.cache)),  # or nothing: memory here is of no use
                    limit=photos.cache_limit,
                    threads=threads,
                    strict=photos.strict,
                    progress=progress,
                    decoders=decoders,
                )
                say(0)
