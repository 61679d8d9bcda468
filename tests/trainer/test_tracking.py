"""MLflow and Weights & Biases, by the listeners of docs/tracking.md as they stand there, hold what metrics.csv does."""

import csv
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import drawn_photos
import pytest
from test_documents_run import ROOT, blocks

PAGE = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def photos() -> None:
    drawn_photos.fill(Path("photos"), 12)


def run_snippet(package: str) -> list[dict[str, float]]:
    """Run the page's Python that begins with the import of `package`; return the rows of the run's metrics.csv."""
    (code,) = (block for block in blocks(PAGE) if block.startswith(f"import {package}\n"))
    few = code.replace('"photos"}', '"photos", "epochs": 3}')
    assert few != code
    exec(compile(few, "docs/tracking.md", "exec"), {})
    (metrics,) = Path("runs").glob("*/metrics.csv")
    with open(metrics, encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 3
    return rows


def test_mlflow_holds_what_metrics_csv_does() -> None:
    mlflow: Any = pytest.importorskip("mlflow", reason="needs MLflow: pip install mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/mlflow.db")
    rows = run_snippet("mlflow")
    client = mlflow.MlflowClient()
    (tracked,) = client.search_runs(["0"])
    for name in rows[0]:
        shown = [(one.step, one.value) for one in client.get_metric_history(tracked.info.run_id, name)]
        assert shown == [(row["epoch"], pytest.approx(row[name])) for row in rows]
    assert {one.path for one in client.list_artifacts(tracked.info.run_id)} == {"config.toml", "model.safetensors"}


def records(path: Path) -> Iterator[Any]:
    """What an offline run's file holds: records in LevelDB's log format after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, at + 4)
        whole, first, last = 1, 2, 4
        record = b"" if kind in (whole, first) else record
        record += data[at + 7 : at + 7 + length]
        if kind in (whole, last):
            yield Record.FromString(record)
        at += 7 + length
        if -at % 2**15 < 7:  # a header does not straddle blocks
            at += -at % 2**15


def test_weights_and_biases_offline_hold_what_metrics_csv_does(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="needs Weights & Biases: pip install wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    rows = run_snippet("wandb")
    (path,) = Path("wandb").glob("offline-run-*/*.wandb")
    items = [record.history.item for record in records(path) if record.history.item]
    tracked = [{"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in item} for item in items]
    assert [{name: row[name] for name in rows[0]} for row in tracked] == [pytest.approx(row) for row in rows]
