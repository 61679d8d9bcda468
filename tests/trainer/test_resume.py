"""Going on from what is left of a run, whatever that is."""

import copy
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet

from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.checkpoint.saved_state import load_state
from catdog.checkpoint.training_state import save_state
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.photo_dataset import PhotoBatch, PhotoDataset
from catdog.data.prefetch import load_batches
from catdog.errors import CatdogError
from catdog.train import resume, train
from catdog.trainer import loop as trainer_module
from catdog.trainer import snapshots, validation

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
SAME = ("model.safetensors", "metrics.csv")


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """stop_after(5): the next training gets SIGTERM after its fifth step; later ones do not."""

    def prepare(wanted: int) -> None:
        steps = 0
        update = trainer_module.AveragedWeights.update

        def update_then_stop(self: Any, model: Any, step: int) -> None:
            nonlocal steps
            update(self, model, step)
            steps += 1
            if steps == wanted:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(trainer_module.AveragedWeights, "update", update_then_stop)

    return prepare


def assert_same(run: Path, whole: Path) -> None:
    for name in SAME:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.parametrize("damage", ["cut short", "a bit flipped", "missing"])
def test_a_run_whose_last_checkpoint_is_damaged_ends_as_if_nothing_had_been(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, stop_after: Callable[[int], None], damage: str
) -> None:
    from test_training_state import spoil

    photos = make_photos({"cat": 20, "dog": 20})
    whole = train(small_config(photos, out=str(tmp_path / "whole"), hidden=(200, 12)), log=quiet)
    stop_after(7)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(small_config(photos, hidden=(200, 12)), log=quiet)
    spoil_or_cut = "cut short" if damage == "a bit flipped" else damage
    spoil(run / STATE_FILE, spoil_or_cut)
    if damage == "a bit flipped":
        shutil.copy(whole / STATE_FILE, run / STATE_FILE)
        data = bytearray((run / STATE_FILE).read_bytes())
        data[len(data) // 2] ^= 1
        (run / STATE_FILE).write_bytes(data)
    lines: list[str] = []
    resume(run, log=lines.append)
    assert "goes on from the checkpoint before it" in lines[0]
    assert "goes on from the checkpoint before it" in (run / "train.log").read_text()
    assert_same(run, whole)


@pytest.fixture
def first_is_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the epochs of the test, none is as good as the first; each later one is better than the one before it."""
    add, count = trainer_module.Progress.add, 0

    def add_as_told(self: Any, row: Any) -> bool:
        nonlocal count
        count += 1
        return add(self, {**row, "val_accuracy": 1.0 if count == 1 else count / 10})

    monkeypatch.setattr(trainer_module.Progress, "add", add_as_told)


@pytest.mark.usefixtures("first_is_best")
@pytest.mark.parametrize("damage", ["missing", "cut short"])
@pytest.mark.parametrize("early_stopping", [0, 2])
def test_where_the_best_network_is_lost_the_next_epochs_is_written(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, damage: str, early_stopping: int
) -> None:
    from test_training_state import spoil

    def stop(line: str) -> None:
        if line.startswith("epoch 2/4"):
            raise KeyboardInterrupt

    run = tmp_path / "run"
    config = small_config(make_photos({"cat": 90, "dog": 90}), epochs=4, early_stopping=early_stopping)
    with pytest.raises(KeyboardInterrupt):
        train(config, log=stop)
    spoil(run / MODEL_FILE, damage)
    lines: list[str] = []
    resume(run, log=lines.append)
    what = "is missing" if damage == "missing" else "cannot be used as a model"
    assert lines[0].startswith(f"{run / MODEL_FILE}, the network of epoch 1, {what}, and no checkpoint holds it; ")
    assert load_model(run / MODEL_FILE)[1].validation["epoch"] == 4
    assert load_state(run / STATE_FILE)["progress"]["best_epoch"] == 3
    assert load_model(run / MODEL_FILE)[1].familiarity


def test_a_finished_run_whose_network_is_lost_says_so(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=1), log=quiet)
    (run / MODEL_FILE).unlink()
    lines: list[str] = []
    resume(run, log=lines.append)
    lost, finished = lines
    assert lost.startswith(f"{run / MODEL_FILE}, the network of epoch 1, is missing")
    assert finished.startswith(f"{run} is finished")
    resume(run, log=quiet, epochs=2)
    assert load_model(run / MODEL_FILE)[1].validation["epoch"] == 2


@pytest.mark.usefixtures("first_is_best")
def test_a_lost_network_is_not_the_best_again_after_a_rollback(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from catdog.trainer.divergence import NotFinite

    config = small_config(make_photos({"cat": 20, "dog": 20}), epochs=3, on_nan="rollback")

    def stop(line: str) -> None:
        if line.startswith("epoch 1/3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, log=stop)
    run = tmp_path / "run"
    (run / MODEL_FILE).unlink()
    finish, failed = trainer_module.Trainer._finish_epoch, False

    def fail_once(self: Any, photos_per_second: float) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise NotFinite("the loss is nan")
        finish(self, photos_per_second)

    monkeypatch.setattr(trainer_module.Trainer, "_finish_epoch", fail_once)
    resume(run, log=quiet)
    assert failed
    assert load_model(run / MODEL_FILE)[1].validation["epoch"] == 3


def test_a_run_without_a_whole_checkpoint_is_one_sentence(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=1), log=quiet)
    for name in (STATE_FILE, PREVIOUS_FILE):
        (run / name).write_bytes(b"")
    with pytest.raises(CatdogError, match=r"last\.pt is not a whole checkpoint: its checksum is wrong"):
        resume(run, log=quiet)


def test_a_file_of_a_run_and_a_study_say_what_to_give_instead(capsys: pytest.CaptureFixture[str]) -> None:
    (folder := Path("runs/my run")).mkdir(parents=True)
    for name in ("config.toml", "model.safetensors"):
        (folder / name).touch()
    assert main(["train", "--resume", str(folder / "model.safetensors")]) == 2
    assert capsys.readouterr().err.endswith(
        "is a file of a run; give its folder: catdog train --resume 'runs/my run'\n"
    )
    (folder / "study.db").touch()
    assert main(["train", "--resume", "my run"]) == 2
    assert (
        capsys.readouterr().err == "catdog: runs/my run is a study; go on with it: catdog tune --resume 'runs/my run'\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "model.safetensors", "study.db"]


def test_threads_and_device_belong_to_the_machine_and_may_be_others_when_resumed(
    make_photos: MakePhotos, small_config: MakeConfig, stop_after: Callable[[int], None]
) -> None:
    config = small_config(make_photos({"cat": 9, "dog": 9}), epochs=2, threads=1)
    stop_after(3)
    with pytest.raises(Interrupted):
        train(config, log=quiet)
    lines: list[str] = []
    run = resume(Path(config.run.out), log=lines.append, threads=2, device="cpu")
    assert any("cpu (as asked); 2 threads (--threads" in line for line in lines)
    assert {"threads = 2", 'device = "cpu"'} <= set((run / "config.toml").read_text().splitlines())
    lines.clear()
    resume(run, log=lines.append)
    assert [line.partition(":")[0] for line in lines] == [f"{run} is finished"], "and nothing of an edited config.toml"


def test_a_run_killed_before_its_first_checkpoint_starts_again(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 9, "dog": 9})
    whole = train(small_config(photos, out=str(tmp_path / "whole")), log=quiet)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(whole / "config.toml", run)
    (run / ".last.pt.0123abcd.tmp").write_bytes(b"half")
    lines: list[str] = []
    resume(run, log=lines.append)
    assert "holds no checkpoint yet, so this starts from the beginning" in lines[0]
    assert_same(run, whole)
    assert not list(run.glob(".*"))


def test_a_run_killed_before_it_wrote_anything_may_be_started_again(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.toml.0123abcd.tmp").write_bytes(b"half")
    run = train(small_config(make_photos({"cat": 9, "dog": 9})), log=quiet)
    assert not list(run.glob(".*"))


def test_an_evaluation_that_takes_long_is_broken_off_and_repeated(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    asked = -100  # of which the whole training needs fewer

    def in_small_batches(photos: PhotoDataset, batches: Sequence[torch.Tensor]) -> Iterator[PhotoBatch]:
        nonlocal asked
        for rows in torch.arange(len(photos)).split(2):
            asked += 1
            if asked == 6:
                os.kill(os.getpid(), signal.SIGINT)
            yield from load_batches(photos, [rows])

    monkeypatch.setattr(validation, "load_batches", in_small_batches)
    whole = train(small_config(photos, out=str(tmp_path / "whole")), log=quiet)
    assert asked < 0
    asked = 0
    with pytest.raises(Interrupted) as stop:
        train(small_config(photos), log=quiet)
    assert asked == 6
    assert (stop.value.signal, stop.value.saved) == (signal.SIGINT, True)
    assert load_state(tmp_path / "run" / STATE_FILE)["progress"]["step"] > 0
    resume(tmp_path / "run", log=quiet)
    assert_same(tmp_path / "run", whole)


def test_a_signal_at_the_end_of_an_epoch_takes_no_further_step_and_no_second_checkpoint(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    whole = train(small_config(photos, out=str(tmp_path / "whole")), log=quiet)
    add, written = trainer_module.Progress.add, 0

    def add_and_signal(self: Any, row: Any) -> bool:
        os.kill(os.getpid(), signal.SIGTERM)
        return add(self, row)

    def count_and_save(*arguments: Any) -> None:
        nonlocal written
        written += 1
        save_state(*arguments)

    monkeypatch.setattr(trainer_module.Progress, "add", add_and_signal)
    monkeypatch.setattr(snapshots, "save_state", count_and_save)
    with pytest.raises(Interrupted):
        train(small_config(photos), log=quiet)
    progress = load_state(tmp_path / "run" / STATE_FILE)["progress"]
    assert (progress["epoch"], progress["step"], written) == (1, 0, 2)  # at the start, and after the epoch
    monkeypatch.undo()
    resume(tmp_path / "run", log=quiet)
    assert_same(tmp_path / "run", whole)


def test_a_signal_while_a_checkpoint_is_written_leaves_it_whole(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    whole = train(small_config(photos, out=str(tmp_path / "whole")), log=quiet)
    fsync, calls = os.fsync, 0

    def fsync_and_signal(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 14:
            os.kill(os.getpid(), signal.SIGTERM)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync_and_signal)
    with pytest.raises(Interrupted):
        train(small_config(photos), log=quiet)
    load_state(tmp_path / "run" / STATE_FILE)
    resume(tmp_path / "run", log=quiet)
    assert_same(tmp_path / "run", whole)


def test_a_second_signal_stops_at_once(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    whole = train(small_config(photos, out=str(tmp_path / "whole")), log=quiet)
    prepare_batch, steps = trainer_module.prepare_batch, 0

    def signal_twice(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it went on")
        return prepare_batch(*arguments)

    monkeypatch.setattr(trainer_module, "prepare_batch", signal_twice)
    with pytest.raises(Interrupted) as stop:
        train(small_config(photos), log=quiet)
    assert (stop.value.signal, stop.value.saved) == (signal.SIGTERM, False)
    advice = "stopped at once, after the last checkpoint; go on with: catdog train --resume"
    assert stop.value.advice.startswith(advice)
    assert (tmp_path / "run" / "train.log").read_text().splitlines()[-1].startswith(advice)
    monkeypatch.undo()
    resume(tmp_path / "run", log=quiet)
    assert_same(tmp_path / "run", whole)


def test_other_classes_than_at_the_start_are_refused_and_other_photos_are_mentioned(
    make_photos: MakePhotos, small_config: MakeConfig, stop_after: Callable[[int], None]
) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    stop_after(7)
    with pytest.raises(Interrupted):
        train(small_config(photos), log=quiet)
    run = Path(small_config(photos).run.out)
    make_photos({"fox": 5})
    with pytest.raises(CatdogError, match=r"started with the classes cat, dog, and .* now holds cat, dog, fox"):
        resume(run, log=quiet)
    shutil.rmtree(photos / "fox")
    make_photos({"cat": 12}, first=20)
    lines: list[str] = []
    resume(run, log=lines.append)
    assert any("the photos are not as many as when this run was started" in line for line in lines)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every part of a state."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


WRONG: list[Any] = [
    None, True, -1, 7, 10**30, 1.5, float("nan"), "", "x", "[[[", [], {}, [1, 2], {"a": 1}, torch.zeros(()),
    torch.zeros(3), torch.zeros(3, 3, dtype=torch.float64), torch.full((5, 144), float("inf")), torch.ones(5).bool(),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.slow
def test_a_whole_checkpoint_of_another_build_is_one_sentence(
    make_photos: MakePhotos,
    small_config: MakeConfig,
    tmp_path: Path,
    stop_after: Callable[[int], None],
    optimizer: str,
) -> None:
    """Each part missing, or something else, with a right checksum: refused in a sentence, or it trains to the end."""
    photos = make_photos({"cat": 9, "dog": 9})
    stop_after(2)
    with pytest.raises(Interrupted):
        train(small_config(photos, epochs=1, batch_size=4, hidden=(5,), optimizer=optimizer), log=quiet)
    run, rng = tmp_path / "run", random.Random(0)
    state = load_state(run / STATE_FILE)
    config = (run / "config.toml").read_bytes()
    refused = 0
    ways = list(places(state))
    assert len(ways) > 40
    for path in ways:
        for wrong in ["missing", *rng.sample(WRONG, 2)]:
            changed = copy.deepcopy(state)
            part = changed
            for key in path[:-1]:
                part = part[key]
            if isinstance(wrong, str) and wrong == "missing":
                del part[path[-1]]
            else:
                part[path[-1]] = wrong
            shutil.rmtree(run)
            run.mkdir()
            (run / "config.toml").write_bytes(config)
            save_state(run / STATE_FILE, changed)
            try:
                resume(run, log=quiet)
            except CatdogError as error:
                refused += 1
                assert "\n" not in str(error)
                assert len(str(error)) < 600
    assert refused > 2 * len(ways)


def test_a_configuration_in_a_checkpoint_may_not_ask_for_a_network_of_any_size(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    run = train(small_config(make_photos({"cat": 9, "dog": 9}), epochs=1), log=quiet)
    state = load_state(run / STATE_FILE)
    for hidden in ("[1000000, 1000000]", "[" + "9, " * 100_000 + "9]", "[" * 5000 + "]" * 5000, "[" + "9" * 5000 + "]"):
        text = state["config"].replace("hidden = [16, 12]", f"hidden = {hidden}")
        assert text != state["config"]
        save_state(run / STATE_FILE, {**state, "config": text})
        with pytest.raises(CatdogError):
            resume(run, log=quiet)
