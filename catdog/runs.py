"""A run's folder: one training writes to it at a time, and what it prints is kept in train.log."""

import csv
import importlib.util
import io
import os
from collections.abc import Callable
from pathlib import Path

from catdog.cache import Skipped
from catdog.checkpoint import write_text
from catdog.errors import CatdogError


class RunFolder:
    """Makes the folder `path` and holds it locked until it is left; a second training is refused with CatdogError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> "RunFolder":
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if os.name == "posix":
                self._take_lock()
            for left_over in self.path.glob(".*.tmp"):
                left_over.unlink()
        except OSError as error:
            raise CatdogError(
                f"cannot write to the run folder {self.path}: {error.strerror}; give another --out."
            ) from None
        return self

    def _take_lock(self) -> None:
        """Lock the folder itself, which leaves no file behind, and goes with the process however it ends."""
        import fcntl

        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise CatdogError(
                f"another training is writing to the run folder {self.path}; wait for it, or give another --out."
            ) from None

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            os.close(self._lock)

    def write_skipped(self, skipped: list[Skipped]) -> None:
        """skipped.csv: path and reason of each photo that could not be read; not written where there is none."""
        if skipped:
            table = io.StringIO()
            writer = csv.writer(table, lineterminator="\n")
            writer.writerow(("path", "reason"))
            writer.writerows((photo.path, photo.reason) for photo in skipped)
            write_text(self.path / "skipped.csv", table.getvalue())

    def scalars(self) -> Callable[[dict[str, float]], None]:
        """A function that shows a row of metrics.csv in TensorBoard, where that is installed."""
        if importlib.util.find_spec("tensorboard") is None:
            return lambda row: None
        from torch.utils.tensorboard import SummaryWriter

        board = SummaryWriter(str(self.path / "tensorboard"))

        def show(row: dict[str, float]) -> None:
            for name, value in row.items():
                board.add_scalar(name, value, int(row["epoch"]))
            board.flush()

        return show

    def logger(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """A function that gives a line to `log` and to train.log."""

        def log_both(line: str) -> None:
            log(line)
            with open(self.path / "train.log", "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(line + "\n")

        return log_both
