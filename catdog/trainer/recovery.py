"""What is done when a training diverges, a stop or a rollback with half the learning rate, or its memory is full."""

from typing import TYPE_CHECKING, Any

import torch

from catdog.base.text import in_shell
from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_state import load_state
from catdog.errors import CatdogError, SettingsError
from catdog.runs.folder import RunFolder
from catdog.trainer.divergence import NotFinite
from catdog.trainer.snapshots import Checkpoints

if TYPE_CHECKING:
    from catdog.trainer.loop import Trainer

MAX_ROLLBACKS = 8  # halvings of the learning rate: to 1/256 of it


def recover(trainer: "Trainer", problem: NotFinite) -> None:
    """Go back to the start of the epoch: at first to find the step, then to go on with half the learning rate.

    Raises SettingsError where `on_nan` says to stop, or after MAX_ROLLBACKS.
    """
    state, checkpoints, is_step_known = trainer.state, trainer.checkpoints, trainer.checks_each_step
    what = ""
    if is_step_known:
        what = _check_rollback(trainer, problem)
    else:
        trainer.log(f"in epoch {state.progress.epoch + 1}, {problem}; going over it again, looking at each step.")
        trainer.checks_each_step = True
    rollbacks, best_epoch, position = state.progress.rollbacks, state.progress.best_epoch, checkpoints.position
    trainer.restore(_start_of_epoch(checkpoints))
    state.progress.best_epoch = min(best_epoch, state.progress.best_epoch)  # -1, where the best network was lost
    checkpoints.position = position  # of last.pt, which is as it was
    if is_step_known:
        state.progress.rollbacks = rollbacks + 1
        trainer.save()
        trainer.log(f"{what}; going on from the start of epoch {state.progress.epoch + 1} with half of it.")


def _check_rollback(trainer: "Trainer", problem: NotFinite) -> str:
    """The problem, to be logged with the rollback; SettingsError where there is to be none."""
    progress, checkpoints = trainer.state.progress, trainer.checkpoints
    step = min(progress.step + 1, trainer.steps_per_epoch)
    rate = trainer.state.optimizer.param_groups[0]["lr"]
    what = f"in epoch {progress.epoch + 1}, step {step}, {problem}; the learning rate was {rate:.3g}"
    if trainer.config.training.on_nan == "stop":
        resumed = f"go on with --resume {in_shell(checkpoints.run)} --on-nan rollback"
        mend = f"{resumed}, or train again with a lower --learning-rate."
        raise SettingsError(f"{what}, and {_describe_last(checkpoints)}; {mend}")
    if progress.rollbacks == MAX_ROLLBACKS:
        what += f", after {MAX_ROLLBACKS} halvings"
        raise SettingsError(f"{what}, and {_describe_last(checkpoints)}; train again with a lower --learning-rate.")
    return what


def _start_of_epoch(checkpoints: Checkpoints) -> dict[str, Any]:
    """The checkpoint at the start of the current epoch, not one within it: when those are saved does not matter."""
    checkpoints.wait()
    path = checkpoints.run / (STATE_FILE if checkpoints.position[1] == 0 else PREVIOUS_FILE)
    world = checkpoints.world
    found: dict[str, Any] = world.from_main(load_state(path) if world.is_main else None)
    return found


def _describe_last(checkpoints: Checkpoints) -> str:
    """Where the last good checkpoint is and how far it goes."""
    checkpoints.wait()
    epoch, step = checkpoints.position
    within = f" and step {step} of the next" if step else ""
    return f"the last good checkpoint is {checkpoints.run / STATE_FILE}, after epoch {epoch}{within}"


def how_to_go_on(error: Exception, trainer: "Trainer", folder: RunFolder) -> Exception:
    """The sentence for what ended a training, full memory or a CatdogError: with the command that resumes it, unless
    its settings are to blame. Any other error as it is."""
    if is_out_of_memory(error):
        return _out_of_memory(trainer, error)
    if not isinstance(error, CatdogError):
        return error
    if folder.writes and (folder.path / STATE_FILE).exists() and not isinstance(error, SettingsError):
        error.args = (f"{str(error).rstrip('.')}; go on with: {folder.resume_command}",)
    return error


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the device, or of this machine, is full."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _out_of_memory(trainer: "Trainer", error: Exception) -> SettingsError:
    """The sentence for a training that takes too much memory."""
    parts = trainer.config.training.accumulate
    in_part = len(trainer.train) // trainer.steps_per_epoch // trainer.world.size // parts
    smaller = f"--accumulate {2 * parts}, a smaller --batch-size, " if in_part >= 2 * trainer.least else ""
    return memory_is_full(error, f"the memory of {trainer.device}", smaller)


def memory_is_full(error: Exception, what: str = "the memory", smaller: str = "") -> SettingsError:
    """The sentence for full memory. smaller: what else may be given, with a comma at its end."""
    said = f"{error}".partition("\n")[0][:160]
    return SettingsError(f"{what} is full ({said}); give {smaller}a smaller --image-size, or a smaller network.")
