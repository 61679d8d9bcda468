"""What is done when a training diverges: stop, or roll back to the start of the epoch with half the learning rate."""

from catdog.base.text import in_shell
from catdog.errors import SettingsError
from catdog.runs.history import Progress
from catdog.trainer.divergence import NotFinite
from catdog.trainer.snapshots import Checkpoints

MAX_ROLLBACKS = 8  # halvings of the learning rate: to 1/256 of it


def check_rollback(
    problem: NotFinite, progress: Progress, steps_per_epoch: int, rate: float, on_nan: str, checkpoints: Checkpoints
) -> str:
    """The problem, to be logged with the rollback; SettingsError where `on_nan` says to stop, or after `MAX_ROLLBACKS`.

    rate: the learning rate of the step at which the numbers were found.
    """
    step = min(progress.step + 1, steps_per_epoch)
    what = f"in epoch {progress.epoch + 1}, step {step}, {problem}; the learning rate was {rate:.3g}"
    if on_nan == "stop":
        resumed = f"go on with --resume {in_shell(checkpoints.run)} --on-nan rollback"
        mend = f"{resumed}, or train again with a lower --learning-rate."
        raise SettingsError(f"{what}, and {checkpoints.describe_last()}; {mend}")
    if progress.rollbacks == MAX_ROLLBACKS:
        what += f", after {MAX_ROLLBACKS} halvings"
        raise SettingsError(f"{what}, and {checkpoints.describe_last()}; train again with a lower --learning-rate.")
    return what
