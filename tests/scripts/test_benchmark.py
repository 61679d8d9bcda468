"""The benchmark's bookkeeping, on measurements that are made up."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import benchmark
from benchmarks.contender import Contender, Figures, Part, accuracy_in, epochs_of
from benchmarks.parts import all_parts
from benchmarks.photos import TRIAL, Place, Sizes, require_photos
from benchmarks.processes import Ended, run_python
from benchmarks.results import (
    Limit,
    Measurement,
    Problem,
    Results,
    compare,
    expected_mean,
    go_on,
    is_kept,
    load,
    mean_interval,
    save,
    slope,
)
from benchmarks.table import change, draw_scaling, markdown

MACHINE = {"processor": "an abacus", "cores": 2, "memory_gib": 4.0, "system": "wood", "environment": {}}


def results_of(part: str = "race", **seconds: list[float]) -> Results:
    """Seconds of each contender, a value a round."""
    found = Results(dict(MACHINE), {"python": "3.11"}, {})
    for name, values in seconds.items():
        found.measurements += [Measurement(part, name, i, {"seconds": value}) for i, value in enumerate(values)]
    return found


def place_in(folder: Path) -> Place:
    return Place(folder / "data", folder / "native", folder, TRIAL)


def test_a_ratio_is_taken_within_each_round_and_then_the_median() -> None:
    # A slow machine in the second round slows both: the ratio of the medians would be 30 / 2.
    found = results_of(slow=[30.0, 300.0, 8.0], fast=[3.0, 100.0, 2.0])
    ratio = compare(found, "race", Limit("", "slow", "seconds", "ratio", "fast"))
    assert ratio is not None and (ratio.n, ratio.middle, ratio.low, ratio.high) == (3, 4.0, 3.0, 10.0)


def test_a_round_without_the_other_contender_is_not_compared() -> None:
    found = results_of(slow=[30.0, 50.0], fast=[3.0])
    ratio = compare(found, "race", Limit("", "slow", "seconds", "ratio", "fast"))
    assert ratio is not None and (ratio.n, ratio.middle) == (1, 10.0)
    assert compare(found, "race", Limit("", "slow", "seconds", "ratio", "none")) is None


def test_an_allowance_is_taken_off_before_the_ratio() -> None:
    found = results_of(mine=[0.5], floor=[0.2])
    limit = Limit("", "mine", "seconds", "ratio", "floor", most=2, allowance=0.1)
    ratio = compare(found, "race", limit)
    assert ratio is not None and math.isclose(ratio.middle, 2) and is_kept(limit, replace(ratio, middle=2.0))


def test_limits_hold_on_both_sides() -> None:
    limit = Limit("", "mine", "seconds", least=0.8, most=1.2)
    verdicts = []
    for value in (0.79, 0.8, 1.2, 1.21):
        found = compare(results_of(mine=[value]), "race", limit)
        assert found is not None
        verdicts.append(is_kept(limit, found))
    assert verdicts == [False, True, True, False]


@pytest.mark.parametrize("n", [2, 5, 31])
def test_the_interval_of_a_mean_is_students(n: int) -> None:
    values = np.random.default_rng(n).normal(size=n)
    found = mean_interval(values.tolist())
    expected = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_predicted_holds_ninety_five_of_a_hundred_new_means(count: int) -> None:
    rng = np.random.default_rng(count)
    inside = 0
    for _ in range(2000):
        found = expected_mean(rng.normal(5, 2, size=4).tolist(), count)
        inside += found.low <= rng.normal(5, 2, size=count).mean() <= found.high
    assert inside / 2000 == pytest.approx(0.95, abs=0.02)


def test_a_change_is_marked_where_it_is_outside_the_interval_of_what_was_measured_before() -> None:
    before = [10.0, 11.0, 12.0]  # mean 11, deviation 1: one more lies within 4.303 * sqrt(4 / 3) = 4.97 of it
    assert change(before, [6.1]) == change(before, [15.9]) == ["11 (3)", ""]
    assert change(before, [6.0]) == change(before, [16.0]) == ["11 (3)", "**outside**"]
    assert change(before, [6.1] * 3)[1] == "**outside**"  # 4.303 * sqrt(2 / 3) = 3.51
    assert change([10.0], [99.0]) == ["10 (1)", ""]
    assert change([], [1.0]) == change([1.0], []) == ["", ""]


def test_the_table_has_a_column_of_the_earlier_results_and_says_what_else_is_another() -> None:
    limit = Limit("slow over fast", "slow", "seconds", "ratio", "fast", least=2)
    part = Part("race", "", [Contender("slow", lambda *_: {}), Contender("fast", lambda *_: {})], [limit])
    earlier, now = results_of(slow=[40.0, 42.0, 38.0], fast=[10.0, 10.0, 10.0]), results_of(slow=[30.0], fast=[10.0])
    lines = list(markdown(now, [part], earlier=replace(earlier, versions={"python": "3.10"})))
    assert "| slow over fast | ≥ 2 | 1 | 3 | 3 to 3 | yes | 4 (3) | **outside** |" in lines
    assert "| slow | seconds | 1 | 30 | 30 to 30 | 40 (3) | **outside** |" in lines
    assert "| fast | seconds | 1 | 10 | 10 to 10 | 10 (3) |  |" in lines
    assert "The earlier ones were made with another python (3.10, now 3.11)." in lines
    assert list(markdown(now, [part], earlier=now)) == list(markdown(now, [part]))


def test_a_part_is_measured_as_often_as_it_says_unless_a_number_is_asked_for() -> None:
    def contender(**rounds: int) -> Contender:
        return Contender("a", lambda *_: {}, **rounds)  # type: ignore[arg-type]

    part = Part("race", "", [], rounds=3)
    usual, rare, once = contender(), contender(usually=1), contender(rounds=1)
    assert [part.rounds_of(c, 0) for c in (usual, rare, once)] == [3, 1, 1]
    assert [part.rounds_of(c, 5) for c in (usual, rare, once)] == [5, 5, 1]


def test_accuracy_may_be_lower_by_chance_but_not_by_more() -> None:
    limit = Limit("", "mine", "seconds", "mean difference", "theirs", least=0)
    chance = compare(results_of(mine=[0.70, 0.72, 0.71], theirs=[0.72, 0.71, 0.71]), "race", limit)
    worse = compare(results_of(mine=[0.60, 0.62, 0.61], theirs=[0.72, 0.73, 0.72]), "race", limit)
    assert chance is not None and worse is not None
    assert is_kept(limit, chance) and not is_kept(limit, worse)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        def measure(place: Place, number: int) -> Figures:
            calls.append((name, number))
            if len(calls) == 4:
                raise KeyboardInterrupt
            return {"seconds": 1.0}

        return Contender(name, measure)

    part = Part("race", "", [contender("a"), contender("b"), contender("c")])
    file, now = tmp_path / "found.json", results_of()
    with pytest.raises(KeyboardInterrupt):
        benchmark.measure(part, 2, place_in(tmp_path), go_on(file, now), file)
    benchmark.measure(part, 2, place_in(tmp_path), go_on(file, results_of()), file)
    # The second round begins with the second contender; the one that was interrupted is the only one done twice.
    assert calls == [("a", 0), ("b", 0), ("c", 0), ("b", 1), ("b", 1), ("c", 1), ("a", 1)]
    assert len(load(file).measurements) == 6


def test_a_part_that_is_measured_anew_leaves_the_others() -> None:
    found = results_of(a=[1.0, 2.0])
    found.measurements.append(Measurement("race-of-others", "a", 0, {"seconds": 3.0}))
    found.not_measured = {"race / b": "it is away", "race-of-others / b": "it is away"}
    found.forget("race")
    assert [(m.part, m.contender) for m in found.measurements] == [("race-of-others", "a")]
    assert list(found.not_measured) == ["race-of-others / b"]


def test_results_of_another_machine_or_version_are_not_added_to(tmp_path: Path) -> None:
    file, now = tmp_path / "found.json", results_of(a=[1.0])
    save(now, file)
    assert go_on(file, now) == now
    with pytest.raises(Problem, match=r"another versions: python was 3\.11 and is 3\.12"):
        go_on(file, replace(now, versions={"python": "3.12"}))
    file.write_text("{}")
    with pytest.raises(Problem, match="does not hold results"):
        go_on(file, now)


def test_the_table_shows_each_figure_beside_its_limit_and_whether_it_is_kept() -> None:
    part = Part(
        "race",
        "Who is quicker.",
        [Contender("slow", lambda *_: {}), Contender("fast", lambda *_: {}), Contender("lost", lambda *_: {})],
        [
            Limit("slow over fast", "slow", "seconds", "ratio", "fast", least=4),
            Limit("seconds of fast", "fast", "seconds", most=2.5),
            Limit("seconds of lost", "lost", "seconds", most=1),
        ],
    )
    found = results_of(slow=[12.0, 30.0, 80.0], fast=[3.0, 3.0, 4.0])
    found.not_measured["race / lost"] = "lost is not installed"
    lines = list(markdown(found, [part]))
    assert "| slow over fast | ≥ 4 | 3 | 10 | 4 to 20 | yes |" in lines
    assert "| seconds of fast | ≤ 2.50 | 3 | 3 | 3 to 4 | **no** |" in lines
    assert "| seconds of lost | ≤ 1 | 0 |  |  | not measured |" in lines
    assert "Not measured: lost: lost is not installed." in lines
    assert "| slow | seconds | 3 | 30 | 12 to 80 |" in lines


def test_a_missing_peer_is_left_out_and_said_so(tmp_path: Path) -> None:
    def fail(place: Place, number: int) -> Figures:
        raise AssertionError("it is not installed")

    found = results_of()
    part = Part("race", "", [Contender("a", fail, needs="a_package_that_nobody_has")])
    benchmark.measure(part, 1, place_in(tmp_path), found, tmp_path / "found.json")
    assert found.not_measured == {
        "race / a": 'a_package_that_nobody_has is not installed: pip install -e ".[bench]"',
    }
    assert not found.measurements


def test_every_limit_speaks_of_contenders_of_its_part() -> None:
    for part in all_parts(Sizes()).values():
        names = {contender.name for contender in part.contenders}
        assert len(names) == len(part.contenders)
        for limit in part.limits:
            assert limit.contender in names
            assert limit.kind == "value" or limit.against in names


def test_the_slope_of_a_power_law_is_its_exponent_and_is_drawn(tmp_path: Path) -> None:
    assert slope([(n, 3 * n**1.5) for n in (1, 2, 4, 8)]) == pytest.approx(1.5)
    part = all_parts(Sizes())["scaling"]
    found = results_of()
    for contender in part.contenders:
        photos = int(contender.name.split()[0])
        figures = {"seconds_1_epoch": photos * 0.01, "seconds_5_epochs": photos * 0.05}
        found.measurements.append(Measurement(part.name, contender.name, 0, figures))
    assert draw_scaling(found, part, tmp_path / "found.png")
    assert "- seconds of 5 epochs: grows as the number of photos to the power 1.00" in list(markdown(found, [part]))
    assert not draw_scaling(results_of(), part, tmp_path / "none.png")


@pytest.mark.usefixtures("no_curves")
def test_the_epochs_of_a_training_are_read_from_what_it_prints(
    make_photos: Callable[..., Path], small_config: Callable[..., object], tmp_path: Path
) -> None:
    from catdog.train import train

    lines: list[str] = []
    run = train(small_config(make_photos({"cat": 12, "dog": 12}), epochs=2), lines.append)  # type: ignore[arg-type]
    printed = [(float(i), line) for i, text in enumerate(lines) for line in text.splitlines()]
    epochs = epochs_of(Ended(1.0, 1.0, printed))
    rows = (run / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("val_accuracy")
    assert [e.accuracy for e in epochs] == pytest.approx([float(row.split(",")[column]) for row in rows[1:]], abs=1e-4)
    assert any(line.startswith("run ") for _, line in printed)  # where the first epoch's time begins
    assert accuracy_in(json.dumps({"epoch": 1, "photos_per_second": 5.0, "accuracy": 0.75})) == 0.75


@pytest.mark.slow
def test_a_process_is_measured_by_its_own_memory_and_told_when_it_fails(tmp_path: Path) -> None:
    program = "import time; block = bytearray(300_000_000); print('full'); time.sleep(60)"
    ended = run_python(["-c", program], tmp_path, until=lambda line: line == "full")
    assert 300 < ended.peak_mb < 2000 and ended.seconds < 60
    with pytest.raises(Problem, match="no more paper"):
        run_python(["-c", "import sys; sys.exit('no more paper')"], tmp_path)


def test_what_is_measured_with_leaves_the_photos_alone(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split in ("train", "val"):
        make_photos({"cat": 12, "dog": 12}, name=f"data/{split}")
    before = sorted(data.rglob("*"))
    work = tmp_path / "work"
    work.mkdir()
    place = Place(data, data / "train", work, replace(TRIAL, native_copies=3, photos_to_list=101))

    def count(folder: Path) -> int:
        return sum(path.is_file() for path in folder.rglob("*"))

    subset = place.subset(10)
    assert (count(subset / "train"), count(subset / "val")) == (10, 10)
    assert (count(place.repeated_native() / "train"), count(place.million())) == (72, 101)
    assert sorted(data.rglob("*")) == before
    with pytest.raises(Problem, match="holds 24 photos in train/, and 30 are to be measured"):
        place.subset(30)


def test_photos_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="give photos to measure with: --data DIR"):
        require_photos(None, None)
    with pytest.raises(Problem, match="must hold at least two class folders"):
        require_photos(tmp_path, tmp_path)


def test_the_process_that_measures_stays_small() -> None:
    """Linux counts the parent's memory to a child, so torch or NumPy in it would show in every peak."""
    program = "import sys, benchmark; sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    run_python(["-c", program], Path(benchmark.__file__).parent)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.slow
def test_the_step_of_the_gpu_part_runs_without_one(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures agree with each other; on a CPU they mean nothing else."""
    import torch

    from benchmarks.peers import gpu

    monkeypatch.setattr(gpu, "_TIMES", 2)
    found = gpu.measure(torch.device("cpu"), precision, photos=600, side=64)
    floor = max(found["bytes_floor_milliseconds"], found["arithmetic_floor_milliseconds"])
    assert found["share_of_floor"] == pytest.approx(floor / found["step_milliseconds"])
    assert found["photos_per_second"] == pytest.approx(200 / found["step_milliseconds"] * 1000)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
def test_the_step_of_the_roofline_part_counts_the_products_of_its_network(shared: bool) -> None:
    from benchmarks.peers import roofline
    from catdog.config.toml import load_config

    network = {
        "image_size": (8, 8),
        "local": (3,) if shared else (),
        "shared": shared,
        "hidden": (16,),
        "batch_size": 16,
    }
    config = load_config(None, {**network, "device": "cpu", "threads": 1})
    found = roofline.measure(config, steps=2, side=64, count=1000)
    seconds = found["products_share_of_step"] * found["step_milliseconds"] / 1000
    # Forward, and backward for the weights; backward for the units below too, but in the first layer.
    inputs = 3 * 4 * 4 if shared else 3 * 8 * 8
    per_photo = 6 * 16 * 2 + (6 if shared else 4) * 16 * inputs
    per_photo += 4 * 3 * 4 * 4 * (4 * 4 * 3) if shared else 0
    assert found["products_gflops"] * seconds * 1e9 == pytest.approx(16 * per_photo, rel=1e-6)
    assert 0 < found["passes_share_of_step"] < 1 and found["products_of_peak"] > 0 < found["passes_of_bandwidth"]
