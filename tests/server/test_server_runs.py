"""The runs side by side: figures and curves as the files of each run have them."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import quiet

from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.config.settings import Config
from catdog.runs.metrics_csv import read_metrics
from catdog.server.networks import Networks
from catdog.server.requests import RequestError
from catdog.server.runs import _EPOCHS, describe_runs, run_folder
from catdog.train import train


@pytest.fixture
def runs(place: Path, tmp_path: Path) -> Path:
    shutil.copytree(place / "runs" / "small", tmp_path / "runs" / "small")
    return tmp_path / "runs"


def by_id(runs: Path) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in describe_runs(Networks(runs))}


def test_a_run_has_the_figures_of_its_files(runs: Path) -> None:
    found = by_id(runs)
    assert list(found) == ["small", "cats-dogs"]
    small, rows = found["small"], read_metrics(runs / "small")
    assert [{k: v for k, v in row.items() if k in rows[0]} for row in small["epochs"]] == rows
    assert [row["epoch"] for row in small["epochs"]] == [1, 2]
    assert small["best"]["val_accuracy"] == max(row["val_accuracy"] for row in rows) == small["accuracy"]
    assert (small["settings"]["hidden"], small["settings"]["photos"]) == ((16, 12), "photos")
    assert small["answers"] and not small["can_continue"]
    assert found["cats-dogs"]["accuracy"] > 0.9 and "epochs" not in found["cats-dogs"]


def test_a_run_that_was_stopped_can_be_continued_and_one_without_a_network_cannot_be_asked(runs: Path) -> None:
    text = (runs / "small" / "config.toml").read_text()
    (runs / "small" / "config.toml").write_text(text.replace("\nepochs = 2", "\nepochs = 9"))
    shutil.copytree(runs / "small", runs / "begun")
    for name in (MODEL_FILE, "metrics.csv"):
        (runs / "begun" / name).unlink()
    found = by_id(runs)
    assert found["small"]["can_continue"] and found["begun"]["can_continue"]
    assert (found["begun"]["answers"], found["begun"]["epochs"], found["begun"]["best"]) == (False, [], None)
    assert run_folder(Networks(runs), "begun") == runs / "begun"


def test_a_stopped_run_is_not_taken_for_the_network_of_its_name(runs: Path) -> None:
    shutil.copytree(runs / "small", runs / "cats-dogs")
    (runs / "cats-dogs" / MODEL_FILE).rename(runs / "kept")
    networks = Networks(runs)
    found = {one["id"]: one for one in describe_runs(networks)}
    assert found.keys() == {"small", "cats-dogs", "cats-dogs-2"}
    assert found["cats-dogs"]["answers"] and "settings" not in found["cats-dogs"]
    assert found["cats-dogs-2"]["settings"] and not found["cats-dogs-2"]["answers"]
    assert run_folder(networks, "cats-dogs-2") == runs / "cats-dogs"
    (runs / "kept").rename(runs / "cats-dogs" / MODEL_FILE)
    assert networks.path("cats-dogs-2") == runs / "cats-dogs" / MODEL_FILE


def test_a_run_that_was_stopped_within_its_folds_or_has_only_the_checkpoint_before_the_last_can_be_continued(
    small_config: Callable[..., Config], make_photos: Callable[..., Path], runs: Path, no_curves: None
) -> None:
    def stop(line: str) -> None:
        if line.startswith("fold 2 of 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(small_config(make_photos({"cat": 7, "dog": 8}), folds=3, out=str(runs / "folds")), stop)
    assert not (runs / "folds" / STATE_FILE).exists()
    shutil.copytree(runs / "small", runs / "before")
    (runs / "before" / STATE_FILE).rename(runs / "before" / PREVIOUS_FILE)
    for name in (MODEL_FILE, "metrics.csv"):
        (runs / "before" / name).unlink()
    (runs / "no run").mkdir()
    (runs / "notes.txt").touch()
    found = by_id(runs)
    assert list(found) == ["small", "cats-dogs", "before", "folds"]
    assert found["folds"]["can_continue"] and found["before"]["can_continue"]
    assert (found["folds"]["epochs_done"], found["folds"]["settings"]["epochs"]) == (0, 3)
    assert run_folder(Networks(runs), "folds") == runs / "folds"


@pytest.mark.parametrize("name", ["../small", "cats-dogs", "", "small/", str(Path.cwd())])
def test_only_runs_that_were_listed_can_be_named(runs: Path, name: str) -> None:
    with pytest.raises(RequestError, match="GET /api/runs lists those that there are"):
        run_folder(Networks(runs), name)


def test_damaged_files_leave_the_other_runs_alone(runs: Path) -> None:
    for name, file in (("a", MODEL_FILE), ("b", "metrics.csv"), ("c", "config.toml")):
        shutil.copytree(runs / "small", runs / name)
        (runs / name / file).write_bytes(b"\0\xff")
    found = by_id(runs)
    assert found.keys() == {"a", "b", "c", "small", "cats-dogs"}
    assert "error" in found["a"] and not found["a"]["answers"]
    assert found["b"]["epochs"] == [] and "settings" not in found["c"] and found["small"]["best"]


def test_a_long_curve_is_thinned_and_ends_where_it_ends(
    small_config: Callable[..., Config], make_photos: Callable[..., Path], tmp_path: Path, no_curves: None
) -> None:
    out = tmp_path / "runs" / "long"
    train(small_config(make_photos({"cat": 4, "dog": 4}), epochs=3, out=str(out)), quiet)
    head, first, *_ = (out / "metrics.csv").read_text().splitlines()
    (out / "metrics.csv").write_text("\n".join([head, *[first] * 1001, ""]))
    epochs = [row["epoch"] for row in by_id(tmp_path / "runs")["long"]["epochs"]]
    assert len(epochs) <= _EPOCHS + 1 and (epochs[0], epochs[-1]) == (1, 1001)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are valid UTF-8")
def test_a_name_that_is_no_text_comes_back_as_it_was(start: Callable[..., Any], runs: Path) -> None:
    name = os.fsdecode(b"caf\xe9 <b>")
    shutil.copytree(runs / "small", runs / name)
    with httpx.Client(base_url=start(runs=runs).address, timeout=60) as ask:
        for path, key in (("/api/runs", "runs"), ("/api/networks", "networks")):
            assert name in [one["id"] for one in json.loads(ask.get(path).content)[key]]
        found = ask.post("/api/trainings", content=json.dumps({"run": f"{name}?"}))
        assert (found.status_code, list(found.json())) == (404, ["error"])
