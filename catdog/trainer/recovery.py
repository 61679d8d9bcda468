"""What is done when a training diverges, a stop or a rollback with half the learning rate, or its memory is full."""

from typing import TYPE_CHECKING

from catdog.base.text import in_shell
from catdog.checkpoint.model_file import STATE_FILE
from catdog.errors import CatdogError, SettingsError
from catdog.runs.folder import RunFolder
from catdog.runs.history import Progress
from catdog.trainer.divergence import NotFinite
from catdog.trainer.snapshots import Checkpoints

if TYPE_CHECKING:
    from catdog.trainer.loop import Trainer

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


def how_to_go_on(error: Exception, trainer: "Trainer", folder: RunFolder) -> CatdogError:
    """The sentence for what ended a training, full memory or a CatdogError: with the command that resumes it, unless
    its settings are to blame."""
    if not isinstance(error, CatdogError):
        return _out_of_memory(trainer, error)
    if folder.writes and (folder.path / STATE_FILE).exists() and not isinstance(error, SettingsError):
        error.args = (f"{str(error).rstrip('.')}; go on with: {folder.resume_command}",)
    return error


def _out_of_memory(trainer: "Trainer", error: Exception) -> SettingsError:
    """The sentence for a training that takes too much memory."""
    parts = trainer.config.training.accumulate
    in_part = len(trainer.train) // trainer.steps_per_epoch // trainer.world.size // parts
    smaller = f"--accumulate {2 * parts}, a smaller --batch-size, " if in_part >= 2 * trainer.least else ""
    return SettingsError(
        f"the memory of {trainer.device} is full ({str(error).splitlines()[0][:160]}); give {smaller}a smaller "
        "--image-size, or a smaller network."
    )
