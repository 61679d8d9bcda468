"""A run's folder: one training writes to it at a time, and what it prints is kept in train.log."""

import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from catdog.base.atomic import cannot_write, is_temporary, write_text
from catdog.base.locks import Held, lock, unlock
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.data.listing import Skipped
from catdog.errors import CatdogError


class RunFolder:
    """Makes the folder `path` and holds it locked until it is left; a second training is refused with CatdogError.

    One that does not write leaves all of it to another process of the same training.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self._lock: int | None = None

    def __enter__(self) -> "RunFolder":
        if not self.writes:
            return self
        if self.path.is_symlink():
            raise CatdogError(f"the run folder {self.path} is a link; give the folder itself: {self.path.resolve()}.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self.path)
            for path in self.path.iterdir():
                if is_temporary(path):
                    path.unlink()
        except Held:
            raise CatdogError(
                f"another training is writing to the run folder {self.path}; wait for it, or give another --out."
            ) from None
        except OSError as error:
            unlock(self._lock)
            raise CatdogError(
                f"cannot write to the run folder {self.path}: {error.strerror}; give another --out."
            ) from None
        return self

    def __exit__(self, *exception: object) -> None:
        unlock(self._lock)

    def write_config(self, config: Config) -> None:
        """config.toml: as resolved, but without the folder itself, since to train with it again takes a new one."""
        if self.writes:
            write_text(self.path / "config.toml", to_toml(replace(config, run=replace(config.run, out=""))))

    def write_skipped(self, skipped: list[Skipped]) -> None:
        """skipped.csv: path and reason of each photo that could not be read; not written where there is none."""
        if skipped and self.writes:
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(("path", "reason"))
            writer.writerows((photo.path, photo.reason) for photo in skipped)
            write_text(self.path / "skipped.csv", table.getvalue())

    def logger(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """A function that gives a line to `log` and to train.log."""
        if not self.writes:
            return lambda line: None

        def log_both(line: str) -> None:
            log(line)
            path = self.path / "train.log"
            refuse_link(path)
            try:
                with open(path, "a", encoding="utf-8", errors="surrogateescape", opener=_open_no_link) as file:
                    file.write(line + "\n")
            except OSError as error:
                raise cannot_write(path, error) from None

        return log_both


def refuse_link(path: Path) -> None:
    """Raise CatdogError where a link is in the place of a file or folder that is to be written."""
    if path.is_symlink():
        raise CatdogError(f"{path} is a link, and nothing is written through links; remove it.")


def _open_no_link(path: str, flags: int) -> int:
    """An opener for open(): a link in the place of the file is refused, not followed."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
