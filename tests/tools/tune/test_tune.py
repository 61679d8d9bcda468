import contextlib
import csv
import itertools
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import without_curves
from drawn_photos import fill
from processes import Catdog

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.runs.metrics_csv import read_metrics
from catdog.tools.tune.search_space import DEFAULT, RANGES, Value, dimensions, with_values
from catdog.tools.tune.study import Study

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
FIXED = ("--image-size", 12, 12, "--hidden", 16, "--batch-size", 8, "--device", "cpu", "--threads", 1, "--ema", 0)
EPOCHS = 4
TRIALS = 8


def tune(*arguments: object) -> int:
    return main(["tune", *map(str, arguments)])


def table(study: Path) -> list[dict[str, str]]:
    with open(study / "trials.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """What the searches of this file have in common: photos, the cache of their pixels, a small network."""
    place = tmp_path_factory.mktemp("flags")
    settings = place / "settings.toml"
    settings.write_text("[training]\nlearning_rate = 0.003\n")
    photos = fill(place / "photos", 60)
    return ["--data", photos, "--cache", place / "cache", "--config", settings, "--epochs", EPOCHS, *FIXED]


@pytest.fixture(scope="module")
def whole(flags: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nothing disturbed, what it said in `said`, and how long it took in `seconds`."""
    study = tmp_path_factory.mktemp("whole") / "study"
    started = time.monotonic()
    with open(study.with_name("said"), "w") as said, contextlib.redirect_stdout(said), without_curves():
        assert tune("--out", study, "--trials", TRIALS, *flags) == 0
    study.with_name("seconds").write_text(str(time.monotonic() - started))
    return study


@pytest.mark.slow
def test_the_best_trial_is_kept_and_its_toml_trains_to_the_same_network(whole: Path, tmp_path: Path) -> None:
    rows = table(whole)
    assert [int(row["trial"]) for row in rows] == list(range(1, TRIALS + 1))
    complete = [row for row in rows if row["how"] == "complete"]
    best = max(complete, key=lambda row: float(row["val_accuracy"]))
    weights = list(whole.glob("trials/*/model.safetensors"))
    assert weights == [whole / "trials" / f"{int(best['trial']):03}" / "model.safetensors"]
    assert not list(whole.glob("trials/*/*.pt"))
    assert main(["train", "--config", str(whole / "best.toml"), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights[0].read_bytes()
    printed = whole.with_name("said").read_text()
    assert f"best: trial {best['trial']}, {float(best['val_accuracy']):.2%} of" in printed
    assert f"train with it: catdog train --config {whole / 'best.toml'}" in printed


@pytest.mark.slow
def test_the_first_trial_is_the_configuration_itself_and_all_are_within_the_ranges(whole: Path) -> None:
    rows = table(whole)
    config = load_config(whole / "config.toml")
    assert config.training.learning_rate == 0.003
    assert [float(rows[0][name]) for name in DEFAULT] == [
        config.training.learning_rate,
        config.training.weight_decay,
        config.model.dropout,
        config.augment.mixup,
        config.augment.crop_area,
        config.training.label_smoothing,
    ]
    for row in rows:
        assert 0.1 <= float(row["learning_rate"]) / config.training.learning_rate <= 10
        assert 0.1 <= float(row["weight_decay"]) / config.training.weight_decay <= 10
        for name in ("dropout", "mixup", "crop_area", "label_smoothing"):
            low, high = map(float, RANGES[name].split(" to "))
            assert low <= float(row[name]) <= high
        run = load_config(whole / "trials" / f"{int(row['trial']):03}" / "config.toml")
        assert run.training.learning_rate == float(row["learning_rate"])
        assert run.augment.mixup == float(row["mixup"])
    assert len({row["learning_rate"] for row in rows}) == len(rows)


@pytest.mark.slow
def test_a_trial_is_given_up_where_it_does_worse_than_half_of_the_complete_ones_did_by_then(whole: Path) -> None:
    """The median rule, worked out anew from each run's metrics.csv."""
    complete: list[list[float]] = []
    for row in table(whole):
        run = whole / "trials" / f"{int(row['trial']):03}"
        accuracies = [metrics["val_accuracy"] for metrics in read_metrics(run)]
        hopeless = [
            len(complete) >= 5
            and 1 <= epoch < EPOCHS
            and max(accuracies[:epoch]) < statistics.median(other[epoch - 1] for other in complete)
            for epoch in range(1, len(accuracies) + 1)
        ]
        assert hopeless.index(True) + 1 == len(accuracies) if any(hopeless) else len(accuracies) == EPOCHS
        assert row["how"] == ("pruned" if any(hopeless) else "complete")
        assert float(row["val_accuracy"]) == max(accuracies)
        if row["how"] == "complete":
            complete.append(accuracies)
    assert len(complete) < TRIALS, "none was given up, so this has shown little"


def assert_like(study: Path, whole: Path) -> None:
    for name in ("trials.csv", "best.toml"):
        assert (study / name).read_bytes() == (whole / name).read_bytes()
    (best,) = whole.glob("trials/*/model.safetensors")
    assert (study / best.relative_to(whole)).read_bytes() == best.read_bytes()
    assert len(list(study.glob("trials/*"))) == len(list(whole.glob("trials/*")))


def in_the_middle_of(study: Path, trial: int) -> Callable[[], bool]:
    return lambda: (study / "trials" / f"{trial:03}" / "metrics.csv").exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
@pytest.mark.slow
def test_a_study_stopped_in_a_trial_goes_on_to_the_same_end(
    flags: list[object], whole: Path, tmp_path: Path, number: int, status: int
) -> None:
    study = tmp_path / "stopped"
    search = Catdog("tune", "--out", study, "--trials", TRIALS, *flags)
    search.wait_until(in_the_middle_of(study, 3))
    search.send(number)
    assert search.wait() == status
    assert "Traceback" not in search.output
    if number != signal.SIGKILL:
        assert search.output.splitlines()[-1] == f"stopped and saved; go on with: catdog tune --resume {study}"
    assert len(table(study)) == 2, "the trial that was stopped is not over"
    again = Catdog("tune", "--resume", study)
    assert again.wait() == 0, again.output
    assert "going on with trial 3" in again.output
    assert_like(study, whole)


@pytest.mark.slow
def test_a_study_killed_again_and_again_goes_on_to_the_same_end(
    flags: list[object], whole: Path, tmp_path: Path
) -> None:
    """At random moments: between trials, within them, while the study's files are written."""
    study, moments = tmp_path / "killed", np.random.default_rng(0)
    length = float(whole.with_name("seconds").read_text())
    search = Catdog("tune", "--out", study, "--trials", TRIALS, *flags)
    search.wait_until(in_the_middle_of(study, 1))
    for kills in itertools.count(1):
        time.sleep(moments.uniform(0, length / 8))
        with contextlib.suppress(ProcessLookupError):  # it has ended
            search.send(signal.SIGKILL)
        if search.wait() == 0 or kills == 12:
            break
        search = Catdog("tune", "--resume", study)
        search.wait_until(lambda search=search: "searching" in search.output)  # type: ignore[misc]
    last = Catdog("tune", "--resume", study)
    assert last.wait() == 0, last.output
    assert_like(study, whole)


@pytest.fixture
def study(tmp_path: Path, small_config: Callable[..., Config]) -> Study:
    config = small_config(tmp_path / "photos", epochs=1, hidden=(8,))
    folder = tmp_path / "study"
    folder.mkdir()
    space = dimensions(config, ["learning_rate", "dropout", "batch_norm", "hidden"])
    return Study.create(folder, config, space, {"trials": 20, "minutes": None})


def test_a_trial_that_was_never_ended_is_tried_again_and_not_counted(study: Study) -> None:
    """However often, and wherever between its records the process was killed."""
    for _ in range(3):
        first = study.next_trial()
        assert (first.number, first.values["learning_rate"]) == (1, study.config.training.learning_rate)
        study = Study.resume(study.folder)
        assert study.finished() == []
    first = study.next_trial()
    first.report_accuracy(1, 0.5)
    study.end(first, "complete", photos=10)
    values = [study.next_trial().values]
    for _ in range(2):
        study = Study.resume(study.folder)
        values.append(study.next_trial().values)
    assert values[0] == values[1] == values[2] != first.values
    assert [trial.number for trial in study.finished()] == [1]


@pytest.mark.slow
def test_the_search_finds_what_matters_and_says_so(study: Study) -> None:
    """An accuracy that depends on the learning rate alone, and is best at three times the configuration's."""
    config = study.config

    def far_from_best(values: dict[str, Value]) -> float:
        return abs(np.log10(float(values["learning_rate"]) / config.training.learning_rate) - np.log10(3))

    for _ in range(24):
        if len(study.finished()) == 9:
            assert study.importances() == {}, "too few to tell"
        trial = study.next_trial()
        trial.report_accuracy(1, float(np.exp(-far_from_best(trial.values))))
        study.end(trial, "complete", photos=100)
    finished = study.finished()
    distances = [far_from_best(trial.values) for trial in finished]
    assert statistics.median(distances[-8:]) < 0.7 * statistics.median(distances[:10])
    best = study.best()
    assert best is not None and far_from_best(best.values) == min(distances)
    importances = study.importances()
    assert next(iter(importances)) == "learning_rate" and importances["learning_rate"] > 0.5
    assert sum(importances.values()) == pytest.approx(1)


@pytest.mark.slow
def test_trials_that_diverge_are_failed_trials_and_not_the_end(
    flags: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study"
    Path("wild.toml").write_text("[training]\nlearning_rate = 0.02\n")
    plain = (
        "--no-batch-norm",
        "--optimizer",
        "sgd",
        "--momentum",
        0,
        "--clip-norm",
        0,
        "--loss",
        "svm",
        "--squared-hinge",
    )
    search = ("--config", "wild.toml", "--search", "learning_rate", "--trials", 6)
    assert tune(*flags, *search, *plain, "--activation", "relu", "--epochs", 2, "--out", study) == 0
    rows = table(study)
    failed = {row["trial"]: float(row["learning_rate"]) for row in rows if row["how"] == "failed"}
    assert failed and len(failed) < len(rows) == 6, rows
    assert min(failed.values()) > min(float(row["learning_rate"]) for row in rows)
    printed = capsys.readouterr().out
    for trial in failed:
        log = study / "trials" / f"{int(trial):03}" / "train.log"
        assert f"failed; {log} says why" in printed
        assert "the learning rate was" in log.read_text()


@pytest.mark.slow
def test_minutes_end_a_search_and_trials_may_be_added_later(flags: list[object], tmp_path: Path) -> None:
    study = tmp_path / "study"
    assert tune(*flags, "--out", study, "--minutes", 1e-6, "--epochs", 1) == 0
    assert len(table(study)) == 1
    assert tune("--resume", study, "--trials", 3) == 0
    assert len(table(study)) == 3
    assert tune("--resume", study) == 0, "it has ended already"
    assert len(table(study)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--search", "learning_rat"],
            "learning_rat is not a field; did you mean learning_rate? There are",
        ),
        (["--search", "epochs"], "epochs is not a field that can be searched"),
        (
            ["--search", "dropout", "--dropout", "0.1"],
            "--search dropout and --dropout, which fixes it, exclude each",
        ),
        (["--search", "label-smoothing", "--loss", "svm"], "the svm loss has no label smoothing; leave it out"),
        (["--search", "hidden", "--config", "linear.toml"], "the network has no hidden layer"),
        (["--config", "decay.toml"], "weight_decay is 0, of which there is no tenth to search from"),
        (["--config", "rate.toml"], "learning_rate (--learning-rate) must be from 1e-12 to 1000, not 5000"),
        (["--trials", "0"], "--trials must be more than 0 and less than 1e9, not 0."),
        (["--trials", "9" * 400], "--trials must be more than 0 and less than 1e9, not 999"),
        (["--minutes", "nan"], "--minutes must be more than 0 and less than 1e9, not nan."),
        (["--out", "photos/study"], "lies in the folder of photos"),
        (["--out", "taken"], "the study folder taken exists and is not empty; give another --out.\n"),
        (["--resume", "nowhere"], "there is no study folder nowhere to resume"),
        (["--resume", "taken"], "taken is no study (it holds no config.toml and no study.db); give a"),
        (["--resume", "taken", "--search", "mixup"], "leave --search out"),
        (["--resume", "taken", "--epochs", "3"], "leave --epochs out"),
        (["--trial", "3"], "catdog tune has no flag --trial; did you mean --trials"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], said: str, make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos({"cat": 5, "dog": 5}).rename("photos")
    Path("taken/trials").mkdir(parents=True)
    Path("taken/trials/file").touch()
    Path("linear.toml").write_text("[model]\nhidden = []\n")
    Path("decay.toml").write_text("[training]\nweight_decay = 0.0\n")
    Path("rate.toml").write_text("[training]\nlearning_rate = 500.0\n")
    before = sorted(Path().rglob("*"))
    data = [] if "--resume" in arguments else ["--data", "photos"]
    assert tune(*data, *arguments) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.err.count("\n") == 1 and printed.err.startswith("catdog: ")
    assert sorted(Path().rglob("*")) == before


@pytest.mark.slow
def test_a_damaged_database_is_one_sentence(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = tmp_path / "study"
    study.mkdir()
    shutil.copy(whole / "config.toml", study)
    (study / "study.db").write_bytes((whole / "study.db").read_bytes()[:5000])
    assert tune("--resume", study) == 2
    assert re.fullmatch(rf"catdog: cannot use the database {study}/study.db: .*\n", capsys.readouterr().err)


@pytest.mark.slow
def test_two_searches_never_write_to_one_folder(flags: list[object], tmp_path: Path) -> None:
    study = tmp_path / "study"
    search = Catdog("tune", *flags, "--out", study, "--epochs", 100000)
    search.wait_until(in_the_middle_of(study, 1))
    other = Catdog("tune", "--resume", study)
    assert other.wait() == 2
    assert "another training is writing" in other.output
    search.send(signal.SIGKILL)
    search.wait()


def test_without_optuna_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['optuna'] = None; from catdog.cli.main import main; sys.exit(main(['tune']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'catdog: catdog tune needs Optuna, which is not installed: pip install "optuna>=5".\n'
    assert not list(Path().iterdir())


def test_help_says_what_is_searched_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tune("--help")
    printed = capsys.readouterr().out
    assert all(name in printed and words in printed for name, words in RANGES.items())
    code = (
        "import sys; import catdog.cli.main as c; c.build_parser(); print({'optuna', 'sqlalchemy'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_every_field_can_be_searched_and_has_the_configuration_s_own_value_in_its_range() -> None:
    for changes in ({}, {"dropout": 0.8, "mixup": 4.0, "crop_area": 0.1, "hidden": (7, 1)}):
        config = load_config(None, changes)
        for dimension in dimensions(config, list(RANGES)):
            assert with_values(config, {dimension.name: dimension.own}) == config
            assert dimension.own in dimension.choices or dimension.low <= float(dimension.own) <= dimension.high
            assert all(with_values(config, {dimension.name: end}) for end in dimension.ends)
    hidden = next(d for d in dimensions(config, ["hidden"]))
    assert [with_values(config, {"hidden": text}).model.hidden for text in hidden.choices] == [(3, 1), (7, 1), (14, 2)]
