"""The figures of each epoch for TensorBoard, in the run's folder tensorboard/, where that is installed."""

import importlib.util
import threading
from pathlib import Path
from typing import Any

from catdog.base.atomic import cannot_write
from catdog.runs.folder import refuse_link
from catdog.trainer.events import EpochDone, Event, Listener, TrainingDone


def tensorboard_writer(run: Path) -> list[Listener]:
    """A listener that writes each row of metrics.csv for TensorBoard; none where that is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    place = run / "tensorboard"
    refuse_link(place)
    board: Any = None
    usual_hook = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        """Show the traceback of a thread, unless it is the one that writes: `flush` raises its error."""
        if type(failed.thread).__module__.partition(".")[0] != "tensorboard":
            usual_hook(failed)

    def write(event: Event) -> None:
        nonlocal board
        if isinstance(event, TrainingDone):
            threading.excepthook = usual_hook
        if not isinstance(event, EpochDone):
            return
        from torch.utils.tensorboard import SummaryWriter

        try:
            if board is None:  # not before there is a row: a disk that cannot be written is found at once
                threading.excepthook = hook
                board = SummaryWriter(str(place))
            for name, value in event.row.items():
                board.add_scalar(name, value, int(event.row["epoch"]))
            board.flush()
        except OSError as error:
            raise cannot_write(place, error) from None

    return [write]
