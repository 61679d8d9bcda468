"""The runs side by side: what each was trained with, its figures and its curves, by the ids of the networks."""

import contextlib
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catdog.base.text import on_one_line
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.splits import SAMPLE
from catdog.errors import CatdogError
from catdog.runs.metrics_csv import read_metrics
from catdog.runs.paths import NewRunFolder
from catdog.server.networks import Networks
from catdog.server.requests import RequestError
from catdog.server.responses import JSONResponse
from catdog.server.state import State

_EPOCHS = 200  # of a curve, at most: a longer one is thinned


def run_folders(networks: Networks) -> dict[str, Path]:
    """The folder of each run by its id, those that were stopped before there was a network among them."""
    found = {name: path.parent for name, path in networks.paths().items() if path.parent.parent == networks.runs}
    begun = {folder for folder in networks.runs.glob("*") if _can_be_resumed(folder)}
    return found | {networks.id_of(folder / MODEL_FILE): folder for folder in sorted(begun - set(found.values()))}


def run_folder(networks: Networks, name: str) -> Path:
    """The folder of a run that was listed. Raises RequestError for another."""
    found = run_folders(networks).get(name)
    if found is None:
        raise RequestError(404, f"there is no run {name!a:.80}; GET /api/runs lists those that there are.")
    return found


def describe_runs(networks: Networks) -> list[dict[str, Any]]:
    """All runs, and the network that comes with catdog: figures, settings and curves, as far as its files tell them."""
    described = {one["id"]: {**one, "answers": "error" not in one} for one in networks.describe()}
    for name, folder in run_folders(networks).items():
        described.setdefault(name, {"id": name, "answers": False}).update(_history(folder))
    return list(described.values())


def _history(folder: Path) -> dict[str, Any]:
    """What config.toml and metrics.csv of a run say; nothing of one that cannot be read."""
    rows: list[dict[str, float]] = []
    with contextlib.suppress(CatdogError):  # it has not finished an epoch yet
        rows = read_metrics(folder)
    try:
        config = load_config(folder / "config.toml")
    except CatdogError:
        return {"epochs": _thinned(rows)}
    best = max(range(len(rows)), key=lambda i: (rows[i]["val_accuracy"], -rows[i]["val_loss"]), default=-1)
    patience = config.training.early_stopping
    is_finished = len(rows) >= config.training.epochs or bool(patience and len(rows) - 1 - best >= patience)
    return {
        "settings": _settings(config),
        "epochs": _thinned(rows),
        "epochs_done": len(rows),
        "best": {"epoch": best + 1, **rows[best]} if rows else None,
        "can_continue": _can_be_resumed(folder) and not is_finished,
    }


def _can_be_resumed(folder: Path) -> bool:
    """Whether it holds a checkpoint, or what folds answered, from which a training goes on."""
    return any(True for pattern in (*NewRunFolder.kept_from, PREVIOUS_FILE) for _ in folder.glob(pattern))


def _settings(config: Config) -> dict[str, Any]:
    training, data = config.training, config.photos.data
    return {
        "photos": "" if data == SAMPLE else on_one_line(Path(data).name),
        "hidden": config.model.hidden,
        "local": config.model.local,
        "activation": config.model.activation,
        "loss": training.loss,
        "learning_rate": training.learning_rate,
        "batch_size": training.batch_size,
        "epochs": training.epochs,
    }


def _thinned(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    """The rows with their epochs, evenly fewer where they are many; the last one is kept."""
    step = -(-len(rows) // _EPOCHS) or 1
    return [{"epoch": i + 1, **row} for i, row in enumerate(rows) if i % step == 0 or i == len(rows) - 1]


def routes(state: State) -> list[Route]:
    async def runs(request: Request) -> Response:
        return JSONResponse({"runs": await state.compute(describe_runs, state.networks)})

    return [Route("/api/runs", runs, methods=["GET"])]
