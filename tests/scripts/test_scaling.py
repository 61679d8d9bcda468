"""The model on paper: its counts against catdog's own network, its sums by hand, and machines that fail."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import scaling
from benchmarks.cost_model import PASSES, Machine, Work, step_parts, training_parts
from benchmarks.failures import best_interval, simulate
from benchmarks.fit import MEASURED, machine_of
from benchmarks.parts.constants import NAME, PROCESSES
from benchmarks.results import Measurement, Problem, Results, save
from catdog.config.toml import load_config
from catdog.model.build import build_model
from catdog.model.mlp import count_weights

MACHINE = Machine(
    cores=2,
    flops=1e9,
    values=1e-8,
    passes=1e9,
    step={1: 0.001, 2: 0.01, 4: 0.03},
    layer={1: 0.0, 2: 0.001, 4: 0.004},
    reduce={1: math.inf, 2: 1e8, 4: 5e7},
    epoch={1: 0.1, 2: 0.15, 4: 0.2},
    checkpoint={1: 1e8, 2: 8e7, 4: 5e7},
    start={1: 2.0, 2: 5.0, 4: 9.0},
    decode={24: 0.001, 64: 0.003, 96: 0.006},
)
WORK = Work(photos=1000, val=100, side=8, hidden=(50, 20), batch=64, epochs=3)


def test_weights_and_products_are_those_of_the_network() -> None:
    model = build_model(load_config(None, {"image_size": (8, 8), "hidden": (50, 20), "batch_norm": False}), 2)
    assert WORK.weights == count_weights(model)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, WORK.values)).sum().backward()
    biases = 6 * (50 + 20 + 2)  # which are added, and count as products here
    assert WORK.flops == counter.get_total_flops() + biases


def test_a_step_by_several_processes_does_the_passes_in_each_and_sums_the_gradients() -> None:
    alone, four = step_parts(WORK, MACHINE), step_parts(WORK, MACHINE, 4)
    assert alone["products"] == four["products"] == pytest.approx(1000 / 16 * WORK.flops / 1e9)
    assert four["passes over the weights"] == 4 * alone["passes over the weights"]
    assert alone["passes over the weights"] == pytest.approx(PASSES * WORK.weights / 1e9)
    assert four["start of a step"] == 0.03
    assert four["layers"] == 2 * 0.004
    assert four["gradients summed"] == pytest.approx(4 * WORK.weights / 5e7)
    assert "gradients summed" not in alone


def test_a_training_decodes_once_or_in_each_epoch() -> None:
    once, again = training_parts(WORK, MACHINE), training_parts(WORK, MACHINE, kept=False)
    assert once["decoding"] == pytest.approx(1100 * 0.001 / 2)  # smaller than what was measured: as that
    assert again["decoding"] == pytest.approx(3 * once["decoding"])
    assert once["products"] == pytest.approx(3 * 1000 * WORK.flops / 1e9)
    assert once["evaluation"] == pytest.approx(3 * 2 * 100 * (WORK.flops / 3 / 1e9 + 192e-8))  # mirrored too
    assert once["end of an epoch"] == pytest.approx(3 * (0.1 + 16 * WORK.weights / 1e8))
    assert MACHINE.decode_seconds(1, 44) == pytest.approx(0.002 / 2)  # between the two


def test_constants_are_found_again_in_the_seconds_that_they_give() -> None:
    """And where one part costs nothing, it is 0 and not less."""
    found = machine_of(measured(MACHINE), 2)
    for name in ("flops", "values", "passes", "reduce", "epoch", "checkpoint", "step", "start"):
        assert getattr(found, name) == pytest.approx(getattr(MACHINE, name)), name
    assert found.layer == pytest.approx(MACHINE.layer, abs=1e-9)
    assert found.decode == pytest.approx(MACHINE.decode)


def measured(machine: Machine) -> Results:
    """What the benchmark would have measured on such a machine."""
    figures: dict[str, dict[str, float]] = {
        f"decode {side} x {side}": {"photos_per_second": machine.cores / seconds}
        for side, seconds in machine.decode.items()
    }
    for n in PROCESSES:
        figures[f"start of {n}"] = {"seconds": machine.start[n]}
        figures[f"steps by {n}"] = {}
        for number, work in enumerate(MEASURED):
            end = machine.epoch[n] + 16 * work.weights / machine.checkpoint[n]
            figures[f"steps by {n}"] |= {
                f"step {number}": sum(step_parts(work, machine, n).values()),
                f"end {number}": end,
            }
    return Results({}, {}, {}, [Measurement(NAME, name, 0, values) for name, values in figures.items()])


def test_without_failures_work_takes_its_time_and_its_checkpoints() -> None:
    clock, lost = simulate(1000, 100, 5, 60, 1e12, np.random.default_rng(0))
    assert (clock, lost) == (pytest.approx(1050), 0)


def test_the_formula_s_interval_is_about_the_best() -> None:
    """Against simulations with the same failures; four times as often or as rarely is worse."""
    checkpoint, between = 30.0, 5000.0
    best = best_interval(checkpoint, between)
    assert best == pytest.approx(math.sqrt(2 * checkpoint * between), rel=0.1)

    def takes(interval: float) -> float:
        times = [simulate(2e5, interval, checkpoint, 60, between, np.random.default_rng(s))[0] for s in range(40)]
        return float(np.mean(times))

    assert takes(best) < min(takes(best / 4), takes(best * 4))


def test_a_failure_costs_the_work_since_the_checkpoint_and_the_restart() -> None:
    class Once:
        """Fails after 130 seconds, and never again."""

        def __init__(self) -> None:
            self.left = [130.0]

        def exponential(self, mean: float) -> float:
            return self.left.pop() if self.left else 1e12

    clock, lost = simulate(200, 100, 5, 60, 1, Once())  # type: ignore[arg-type]
    assert lost == pytest.approx(25)
    assert clock == pytest.approx(130 + 60 + 105)


def test_predictions_are_written_once_and_what_runs_took_beside_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(measured(MACHINE), tmp_path / "constants.json")
    for split, count in (("train", 4), ("val", 1)):
        for label in ("cat", "dog"):
            (tmp_path / "photos" / split / label).mkdir(parents=True)
            for number in range(count):
                (tmp_path / "photos" / split / label / f"{number}.jpg").touch()
    places = ["--constants", str(tmp_path / "constants.json"), "--file", str(tmp_path / "scaling.json")]
    data = ["--data", str(tmp_path / "photos")]
    scaling.main(["predict", *data, *places])
    with pytest.raises(Problem, match="holds predictions already"):
        scaling.main(["predict", *data, *places])
    written = json.loads((tmp_path / "scaling.json").read_text())
    assert len(written["runs"]) == 4 * 3 * 2
    written["runs"][0]["seconds"] = 1.1 * sum(written["runs"][0]["parts"].values())
    (tmp_path / "scaling.json").write_text(json.dumps(written))
    scaling.main(["table", *places])
    assert "within 20%: 1 of 1" in capsys.readouterr().out
    scaling.main(["far", *places])
    assert "1,000 GPUs" in capsys.readouterr().out


def test_each_machine_decodes_all_photos_once_or_its_share_in_each_epoch_whichever_is_quicker() -> None:
    slow = 100.0  # core-seconds a photo, so that nothing else counts
    hours = 10**6 * slow / (8 * scaling.GPU_CORES) / 3600
    assert scaling.far_hours(10**6, 8, slow) == (pytest.approx(hours, rel=0.01), "decoding once")
    assert scaling.far_hours(10**6, 80, slow) == (pytest.approx(hours, rel=0.01), "decoding once")  # ten machines
    assert scaling.far_hours(10**6, 80, slow, shares=True) == (pytest.approx(hours / 10, rel=0.01), "decoding once")
    again = pytest.approx(hours * 30 / 100, rel=0.01)
    assert scaling.far_hours(10**6, 800, slow) == (again, "decoding in each epoch")


def test_far_away_sums_over_many_gpus_take_most_of_a_small_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "STORE", 1e18)
    assert scaling.far_hours(10**8, 1, 0.0)[1] == "products"
    with_sums, limit = scaling.far_hours(10**8, 1000, 0.0)
    assert limit == "summing gradients"
    without, _ = scaling.far_hours(10**8, 1000, 0.0, norm_sums=False)
    steps = 30 * 10**8 / 8192
    assert (with_sums - without) * 3600 == pytest.approx(steps * 12 * 2 * math.log2(1000) * scaling.HOP)


def test_what_is_missing_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="predict"):
        scaling.main(["table", "--file", str(tmp_path / "none.json")])
    (tmp_path / "scaling.json").write_text("{}")
    with pytest.raises(Problem, match="--data DIR"):
        scaling.main(["run", "--file", str(tmp_path / "scaling.json")])


def test_constants_that_were_not_measured_are_asked_for(tmp_path: Path) -> None:
    save(Results({}, {}, {}), tmp_path / "constants.json")
    with pytest.raises(Problem, match="--only constants"):
        scaling.main(["far", "--constants", str(tmp_path / "constants.json")])
