"""Finds the model file of a run, or that of the trained network that comes with catdog."""

from pathlib import Path

import catdog
from catdog.checkpoint.model_card import DRAWINGS
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.errors import CatdogError

TRAINED = Path(catdog.__file__).parent / "trained" / "cats-dogs.safetensors"  # the network that comes with catdog
TRAINED_NAME = "cats-dogs"


def find_model(run: str | Path | None, drawings: bool = False) -> Path:
    """Find the model file of `run`: a run folder, its name in runs/, or a model file; None means the newest run, of
    those trained on photographs unless `drawings`.

    Where there is no run, and for the name "cats-dogs" if no run has it, it is the one that comes with catdog. Raises
    CatdogError if there is none.
    """
    if run is None:
        from catdog.runs.trained_on import trained_on

        newest = sorted(Path("runs").glob(f"*/{MODEL_FILE}"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return next((model for model in newest if drawings or trained_on(model) != DRAWINGS), TRAINED)
    for path in (Path(run), Path("runs") / run):
        if path.is_file():
            return path
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE
    if str(run) == TRAINED_NAME:
        return TRAINED
    if Path(run).is_dir():
        raise CatdogError(f"{run} holds no {MODEL_FILE}; give the folder of a run that finished an epoch.")
    raise CatdogError(
        f"there is no run {run}; give the folder of a run, such as runs/NAME, or {TRAINED_NAME}, which comes with "
        "catdog."
    )


def comes_with_catdog(model: Path) -> bool:
    """Whether a model file is the one that comes with catdog, which lies in no run folder."""
    return model.resolve() == TRAINED.resolve()


def output_folder(model: Path) -> Path:
    """The folder for files made from a model: its run's; for the one that comes with catdog, runs/cats-dogs."""
    return Path("runs") / TRAINED_NAME if comes_with_catdog(model) else model.parent
