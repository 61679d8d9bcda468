"""A run's folder: one training writes to it at a time, and what it prints is kept in train.log."""

import contextlib
import csv
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Self

from catdog.base.atomic import cannot_write, is_temporary, write_text
from catdog.base.locks import Held, lock, unlock
from catdog.base.signals import Interrupted
from catdog.base.text import in_shell
from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.config.settings import Config
from catdog.config.toml import to_toml
from catdog.data.listing import Skipped
from catdog.errors import CatdogError


class RunFolder:
    """The folder `path`, held locked until it is left; a second training is refused with CatdogError.

    log: given each line that train.log gets. A folder that does not write leaves all of it to another process of the
    same training. That of a new training is a `catdog.runs.paths.NewRunFolder`.
    """

    kind, verb = "run folder", "train"  # what it is called, and the command that makes it
    marks: tuple[str, ...] = ("config.toml", STATE_FILE, PREVIOUS_FILE)  # of which one is in it, where it has begun

    def __init__(self, path: Path, log: Callable[[str], None] = print, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self._log = log
        self._lock: int | None = None

    def __enter__(self) -> Self:
        if not self.writes:
            return self
        try:
            if self.path.is_symlink():
                raise CatdogError(
                    f"the {self.kind} {self.path} is a link; give the folder itself: {self.path.resolve()}."
                )
            self._claim()
            for path in filter(is_temporary, list(self.path.iterdir())):
                path.unlink()
        except Held:
            raise CatdogError(
                f"another training is writing to the {self.kind} {self.path}; wait for it, or train into another --out."
            ) from None
        except OSError as error:
            unlock(self._lock)
            raise CatdogError(
                f"cannot write to the {self.kind} {self.path}: {error.strerror}; give another --out."
            ) from None
        return self

    def _claim(self) -> None:
        if not any((self.path / name).exists() for name in self.marks):  # nothing is written to a folder of photos
            from catdog.runs.no_run import why_no_run

            raise CatdogError(why_no_run(self.path, self.kind, self.verb, self.marks))
        self._lock = lock(self.path)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self.writes and isinstance(error, Interrupted | CatdogError):
            if isinstance(error, Interrupted):
                where = "stopped and saved" if error.saved else "stopped at once, after the last checkpoint"
                error.advice = f"{where}; go on with: {self.resume_command}"
            with contextlib.suppress(CatdogError):
                self._note(error.advice if isinstance(error, Interrupted) else str(error))
        unlock(self._lock)

    @property
    def resume_command(self) -> str:
        return f"catdog {self.verb} --resume {in_shell(self.path)}"

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

    def log(self, line: str) -> None:
        """Give a line to the log that this folder was made with, and to train.log."""
        if self.writes:
            self._log(line)
            self._note(line)

    def _note(self, line: str) -> None:
        path = self.path / "train.log"
        refuse_link(path)
        try:
            with open(path, "a", encoding="utf-8", errors="surrogateescape", opener=_open_no_link) as file:
                file.write(line + "\n")
        except OSError as error:
            raise cannot_write(path, error) from None


def refuse_link(path: Path) -> None:
    """Raise CatdogError where a link is in the place of a file or folder that is to be written."""
    if path.is_symlink():
        raise CatdogError(f"{path} is a link, and nothing is written through links; remove it.")


def _open_no_link(path: str, flags: int) -> int:
    """An opener for open(): a link in the place of the file is refused, not followed."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
