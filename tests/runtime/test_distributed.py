"""One training by several processes, over Gloo, is the training by one."""

import csv
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet
from processes import CONTEXT
from torch.distributed import HashStore

from catdog import train as train_module
from catdog.base.signals import Interrupted
from catdog.checkpoint.model_file import MODEL_FILE, STATE_FILE
from catdog.checkpoint.saved_state import load_state
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.data.batches import seed_step
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.runtime import distributed
from catdog.runtime.distributed import DistributedWorld, _name_of_start
from catdog.runtime.world import World
from catdog.tools.dataset.pack import pack
from catdog.train import resume, train
from catdog.trainer import loop, targets, validation
from catdog.trainer.augment import normalise
from catdog.trainer.batch import prepare_batch
from catdog.trainer.loop import AveragedWeights, Trainer
from catdog.trainer.targets import Targets

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
Change = Callable[[int], None]
LIMIT = 300.0
PATCH = pytest.MonkeyPatch()  # used in processes that end with the test


def _member(rank: int, environment: dict[str, str], folder: str, change: Change, job: Callable[[], Any]) -> None:
    handle = os.open(f"{folder}/output-{rank}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank))
    PATCH.setattr("catdog.drawing.curves.draw_curves", lambda history, path: None)  # takes longer than all else
    PATCH.setattr(os, "fsync", lambda handle: None)  # as in conftest.py
    change(rank)
    try:
        job()
    except CatdogError as error:
        print(f"catdog: {error}", flush=True)
        os._exit(2)
    except Interrupted as stop:
        print(stop.advice, flush=True)
        os._exit(128 + stop.signal)


class Job:
    """A training, or with a folder alone going on with one, in a form that another process can be given."""

    def __init__(self, config: Config | Path) -> None:
        self.config = config

    def __call__(self) -> None:
        if isinstance(self.config, Path):
            resume(self.config)
        else:
            train(self.config)


def nothing(rank: int) -> None:
    """A change of no process."""


class Processes:
    """`size` processes that train together, as torchrun starts them; `change` is called in each before it begins."""

    def __init__(self, size: int, config: Config | Path, change: Change = nothing) -> None:
        self.folder = Path.cwd() / f"world-{time.monotonic_ns()}"
        self.folder.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {
            "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port), "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
        }  # fmt: skip
        self.all = [
            CONTEXT.Process(target=_member, args=(rank, environment, str(self.folder), change, Job(config)))
            for rank in range(size)
        ]
        for process in self.all:
            process.start()

    @property
    def output(self) -> str:
        return "".join(path.read_text() for path in sorted(self.folder.glob("output-*")))

    def wait(self) -> list[int | None]:
        end = time.monotonic() + LIMIT
        for process in self.all:
            process.join(max(0.0, end - time.monotonic()))
        stuck = [process for process in self.all if process.is_alive()]
        for process in stuck:
            process.kill()
            process.join()
        assert not stuck, f"stuck: {self.output}"
        return [process.exitcode for process in self.all]


def train_by(size: int, config: Config | Path, change: Change = nothing) -> Path:
    processes = Processes(size, config, change)
    assert processes.wait() == [0] * size, processes.output
    return config if isinstance(config, Path) else Path(config.run.out)


def curve(run: Path) -> list[list[float]]:
    """A row an epoch: losses and accuracies."""
    with open(run / "metrics.csv", newline="") as file:
        return [[float(value) for value in row.values()] for row in csv.DictReader(file)]


ALL_ON: dict[str, Any] = {
    "mixup": 0.4, "batch_norm": True, "class_weights": "balanced", "accumulate": 2, "optimizer": "sgd",
    "learning_rate": 0.02,
}  # fmt: skip
TRAININGS: dict[str, dict[str, Any]] = {
    "the defaults, smaller": {},
    "with all that looks at several photos": ALL_ON | {"accumulate": 1},
    "in parts": ALL_ON | {"batch_norm": False},
    "hinge": {"loss": "svm", "squared_hinge": True, "optimizer": "muon", "hidden": (16, 12, 10), "clip_norm": 0.5},
    "batch norm of torchvision's": {  # of maps, and without dropout
        "model": "shufflenet_v2_x0_5",
        "hidden": Config().model.hidden,
        "image_size": (32, 40),
        "optimizer": "sgd",
        "learning_rate": 0.02,
    },
    "batch norm with one photo a process": {"batch_norm": True, "batch_size": 5, "optimizer": "sgd"},
}


@pytest.mark.parametrize("name", list(TRAININGS)[:4])
@pytest.mark.slow
def test_one_two_and_four_processes_give_the_same_curve(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    """26 training photos: batches of 13, which neither two nor four processes share equally."""
    photos = make_photos({"cat": 20, "dog": 12})
    # Without batch norm, where adamw makes full steps of what rounding leaves of the gradient of a bias before it.
    changes = {"batch_size": 14, "epochs": 3, "batch_norm": False, **TRAININGS[name]}
    alone = curve(train(small_config(photos, out=str(tmp_path / "1"), **changes), log=quiet))
    for size in (2, 4):
        together = curve(train_by(size, small_config(photos, out=str(tmp_path / f"{size}"), **changes)))
        for row, expected in zip(together, alone, strict=True):
            assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)


def in_float64(rank: int) -> None:
    """A training whose network, and all that it computes, is of twice the length."""
    make = Trainer.__init__

    def batch64(*arguments: Any) -> tuple[torch.Tensor, Targets]:
        images, targets = prepare_batch(*arguments)
        return images.double(), targets

    def make64(self: Trainer, config: Config, model: MLP, *arguments: Any) -> None:
        make(self, config, model.double(), *arguments)
        self.loss.double()

    PATCH.setattr(Trainer, "__init__", make64)
    PATCH.setattr(loop, "prepare_batch", batch64)
    PATCH.setattr(validation, "normalise", lambda *arguments: normalise(*arguments).double())


@pytest.mark.parametrize("name", [name for name in TRAININGS if name != "hinge"])
@pytest.mark.slow
def test_in_float64_the_curves_agree_to_ten_places(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {"batch_size": 14, "epochs": 2, **TRAININGS[name]}
    curves = [
        curve(train_by(size, small_config(photos, out=str(tmp_path / f"{size}"), **changes), in_float64))
        for size in (1, 2, 4)
    ]
    for together in curves[1:]:
        for row, expected in zip(together, curves[0], strict=True):
            assert row == pytest.approx(expected, rel=1e-10, abs=1e-12)


def weigh_slices_alike(rank: int) -> None:
    """The fault that DistributedDataParallel alone has: each process's mean counts for as much, whatever its size."""
    PATCH.setattr(targets, "weight_of", lambda labels, criterion: 1)
    PATCH.setattr(Targets, "batch_size", 13)


def draw_for_the_slice(rank: int) -> None:
    """The fault that each process changes its first photo as the others change theirs."""
    PATCH.setattr(World, "slice", lambda self, count: slice(count // self.size))


@pytest.mark.parametrize("fault", [weigh_slices_alike, draw_for_the_slice])
@pytest.mark.slow
def test_that_comparison_sees_faults(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, fault: Change
) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {"batch_size": 14, "epochs": 2}
    alone = curve(train(small_config(photos, out=str(tmp_path / "1"), **changes), log=quiet))
    together = curve(train_by(2, small_config(photos, out=str(tmp_path / "2"), **changes), fault))
    assert together[-1] != pytest.approx(alone[-1], rel=1e-5, abs=1e-6)


def stop_after_seven_steps(rank: int) -> None:
    """SIGTERM for one process, which is not the one that writes."""
    update, steps = AveragedWeights.update, 0

    def update_then_stop(self: AveragedWeights, model: torch.nn.Module, step: int) -> None:
        nonlocal steps
        update(self, model, step)
        steps += 1
        if steps == 7 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    PATCH.setattr(AveragedWeights, "update", update_then_stop)


@pytest.mark.slow
def test_a_signal_stops_all_at_one_step_and_any_number_may_go_on(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {**ALL_ON, "batch_size": 8, "epochs": 4, "accumulate": 1}
    whole = train_by(2, small_config(photos, out=str(tmp_path / "whole"), **changes))
    stopped = tmp_path / "stopped"
    processes = Processes(2, small_config(photos, out=str(stopped), **changes), stop_after_seven_steps)
    assert processes.wait() == [143, 143], processes.output
    assert processes.output.count(f"stopped and saved; go on with: catdog train --resume {stopped}") == 1
    progress = load_state(stopped / STATE_FILE)["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 3)
    for size in (1, 2, 4):
        run = tmp_path / f"resumed-{size}"
        shutil.copytree(stopped, run)
        if size == 1:
            resume(run, log=quiet)
        else:
            train_by(size, run)
        for row, expected in zip(curve(run), curve(whole), strict=True):
            assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)
        if size == 2:
            for name in ("model.safetensors", "metrics.csv", "weights.csv"):
                assert (run / name).read_bytes() == (whole / name).read_bytes()


def ask_for_four_epochs(rank: int) -> None:
    PATCH.setattr(sys.modules[__name__], "resume", functools.partial(resume, epochs=4))


@pytest.mark.slow
def test_more_epochs_by_several_processes(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {**ALL_ON, "batch_size": 8, "accumulate": 1, "schedule": "constant"}
    whole = train_by(2, small_config(photos, out=str(tmp_path / "whole"), epochs=4, **changes))
    run = train_by(2, small_config(photos, epochs=2, **changes))
    train_by(2, run, ask_for_four_epochs)
    for name in ("model.safetensors", "metrics.csv", "weights.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    finished = Processes(2, run, ask_for_four_epochs)
    assert finished.wait() == [0, 0]
    assert finished.output.count(f"{run} is finished: it has trained for 4 epochs") == 1


def test_a_signal_that_comes_while_the_processes_agree_is_not_lost(
    make_photos: MakePhotos, small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest, calls = World.largest, 0

    def with_signal(self: World, number: int, device: torch.device) -> int:
        nonlocal calls
        calls += 1
        found = largest(self, number, device)
        if calls == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr(World, "largest", with_signal)
    with pytest.raises(Interrupted):
        train(small_config(make_photos({"cat": 20, "dog": 12}), epochs=1), log=quiet)
    assert 5 < calls < 9


def note_dropout(rank: int) -> None:
    """Each process leaves a file with what dropout would draw first in each of its steps."""
    step = Trainer.step

    def step_and_note(self: Trainer, *arguments: Any) -> None:
        step(self, *arguments)
        seed_step(self.config.run.seed, 0, arguments[2], self.device, self.world.rank)
        with open(f"drawn-by-{rank}", "a") as file:
            file.write(f"{torch.rand(()).item()} ")

    PATCH.setattr(Trainer, "step", step_and_note)


@pytest.mark.slow
def test_dropout_silences_other_units_in_each_process(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    config = small_config(make_photos({"cat": 20, "dog": 12}), dropout=0.5, epochs=1)
    train_by(2, config, note_dropout)
    drawn = [number for path in Path.cwd().glob("drawn-by-*") for number in path.read_text().split()]
    assert len(drawn) == len(set(drawn)) == 8


def fail_in_one(rank: int) -> None:
    update, steps = AveragedWeights.update, 0

    def fail(self: AveragedWeights, model: torch.nn.Module, step: int) -> None:
        nonlocal steps
        steps += 1
        if rank == 1 and steps == 3:
            raise CatdogError("the disk of process 1 is full.")
        update(self, model, step)

    PATCH.setattr(AveragedWeights, "update", fail)


def die_in_one(rank: int) -> None:
    update, steps = AveragedWeights.update, 0

    def die(self: AveragedWeights, model: torch.nn.Module, step: int) -> None:
        nonlocal steps
        steps += 1
        if rank == 1 and steps == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        update(self, model, step)

    PATCH.setattr(AveragedWeights, "update", die)


def fail_to_decode(rank: int) -> None:
    def fail(*arguments: Any, **settings: Any) -> None:
        raise CatdogError("the cache cannot be written.")

    if rank == 0:
        PATCH.setattr(train_module, "open_folders", fail)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (fail_in_one, "catdog: the disk of process 1 is full.\n"),
        (fail_to_decode, "catdog: the cache cannot be written.\n"),
    ],
)
@pytest.mark.slow
def test_a_process_that_fails_ends_all_and_is_the_one_to_say_why(
    make_photos: MakePhotos, small_config: MakeConfig, change: Change, said: str
) -> None:
    processes = Processes(3, small_config(make_photos({"cat": 20, "dog": 12})), change)
    assert processes.wait() == [2, 2, 2]
    assert processes.output.count(said) == 1
    assert "Traceback" not in processes.output
    assert processes.output.count("catdog: ") == 1


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_with_one_sentence(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    processes = Processes(3, small_config(make_photos({"cat": 20, "dog": 12})), die_in_one)
    assert processes.wait() == [2, -signal.SIGKILL, 2]
    assert processes.output.count("has lost its connection to another, which has ended without a word") == 1
    assert "Traceback" not in processes.output
    assert load_state(tmp_path / "run" / STATE_FILE)["progress"]["epoch"] == 0


def one_decodes_slowly(rank: int) -> None:
    from catdog.images import decoder

    decode = decoder.decode_and_measure

    def slow(path: Any, *how: Any) -> Any:
        Path(f"decoded-by-{rank}").touch()
        time.sleep(0.02)
        return decode(path, *how)

    PATCH.setattr(decoder, "decode_and_measure", slow)


@pytest.mark.slow
def test_the_photos_are_decoded_once_on_a_machine(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    train_by(3, small_config(make_photos({"cat": 20, "dog": 12})), one_decodes_slowly)
    assert [path.name for path in Path.cwd().glob("decoded-by-*")] == ["decoded-by-0"]


@pytest.mark.slow
def test_photos_that_are_not_kept_are_decoded_by_slices(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {"cache": "none", "epochs": 2, "batch_norm": False}
    alone = curve(train(small_config(photos, out=str(tmp_path / "1"), **changes), log=quiet))
    together = curve(train_by(2, small_config(photos, out=str(tmp_path / "2"), **changes)))
    for row, expected in zip(together, alone, strict=True):
        assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)


def in_small_windows(rank: int) -> None:
    PATCH.setattr("catdog.data.shard_order.WINDOW", 2)


def in_small_windows_and_float64(rank: int) -> None:
    in_small_windows(rank)
    in_float64(rank)


def in_small_windows_until_seven_steps(rank: int) -> None:
    in_small_windows(rank)
    stop_after_seven_steps(rank)


@pytest.mark.slow
def test_windows_of_shards_are_the_same_for_any_number_which_may_change_within_an_epoch(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setattr("catdog.tools.dataset.pack._MEGABYTE", 10_000)
    pack(make_photos({"cat": 20, "dog": 12}), tmp_path / "packed", 1)
    assert len(list((tmp_path / "packed").glob("*.tar"))) > 4
    # Without batch norm, where adamw makes full steps of what rounding leaves of the gradient of a bias before it.
    changes = {"batch_size": 8, "epochs": 3, "cache": "none", "batch_norm": False}

    def config(name: str) -> Config:
        return small_config((tmp_path / "packed").as_uri(), out=str(tmp_path / name), **changes)

    exact = [curve(train_by(size, config(f"exact-{size}"), in_small_windows_and_float64)) for size in (1, 2, 4)]
    for other in exact[1:]:
        for row, expected in zip(other, exact[0], strict=True):
            assert row == pytest.approx(expected, rel=1e-10, abs=1e-12)
    whole = curve(train_by(1, config("whole"), in_small_windows))
    processes = Processes(2, config("stopped"), in_small_windows_until_seven_steps)
    assert processes.wait() == [143, 143], processes.output
    assert load_state(tmp_path / "stopped" / STATE_FILE)["progress"]["step"] > 0
    for size in (1, 4):
        shutil.copytree(tmp_path / "stopped", tmp_path / f"resumed-{size}")
        for row, expected in zip(
            curve(train_by(size, tmp_path / f"resumed-{size}", in_small_windows)), whole, strict=True
        ):
            assert row == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.slow
def test_a_batch_too_small_to_share_is_refused(make_photos: MakePhotos, small_config: MakeConfig) -> None:
    config = small_config(make_photos({"cat": 20, "dog": 12}), batch_size=3, accumulate=2, batch_norm=False)
    processes = Processes(2, config)
    assert processes.wait() == [2, 2]
    expected = "is too small for 2 processes in 2 parts; give a larger --batch-size, or start fewer processes.\n"
    assert processes.output.count(expected) == 1


def world(rank: int = 0, size: int = 2, local_rank: int = 0, local_size: int = 2) -> World:
    return DistributedWorld(rank, size, local_rank, local_size, store=None)


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "available_devices", lambda: ["cuda:0", "cuda:1", "cpu"])
    monkeypatch.setattr(distributed, "choose_device", lambda name: (torch.device(name), name))
    for name in ("auto", "cuda"):
        assert world(local_rank=1).choose_device(name) == (torch.device("cuda:1"), "2 processes; this one on cuda:1")
    assert world(local_rank=1).choose_device("cpu")[0] == torch.device("cpu")
    with pytest.raises(CatdogError, match=r"cannot share the device cuda:1 \(--device\); give cuda, .* or cpu\.$"):
        world().choose_device("cuda:1")
    with pytest.raises(CatdogError, match=r"4 processes on this machine and 2 GPUs; .* --nproc-per-node 2\.$"):
        world(local_rank=2, local_size=4).choose_device("auto")


@pytest.mark.parametrize("count", [1, 2, 7, 512])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_slices_share_a_batch_without_gap_or_overlap(count: int, size: int) -> None:
    slices = [world(rank, size).slice(count) for rank in range(size)]
    assert [place for part in slices for place in range(count)[part]] == list(range(count))
    lengths = [part.stop - part.start for part in slices]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.slow
def test_torchrun_trains(make_photos: MakePhotos, tmp_path: Path) -> None:
    """The command of the documentation, in the words of torchrun itself."""
    photos, run = make_photos({"cat": 20, "dog": 12}), tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "catdog", "train"]
    flags = ["--data", str(photos), "--out", str(run), "--epochs", "2", "--hidden", "8", "--device", "cpu"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1
    assert "device     2 processes; this one on cpu (as asked)" in done.stdout
    assert load_config(run / "config.toml").training.epochs == 2


def test_processes_that_start_again_hear_nothing_of_the_former_ones() -> None:
    """torchrun's store outlives a restart, and in it what the former processes said: another number of them, too."""
    store, names = HashStore(), set()
    for size in (2, 3, 2, 1, 2):
        with ThreadPoolExecutor(size) as pool:
            one, *others = pool.map(lambda rank, size=size: _name_of_start(store, rank, size), range(size))
        assert all(other == one for other in others)
        names.add(one)
    assert len(names) == 5


def test_a_process_waits_for_those_that_start_with_it() -> None:
    store = HashStore()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda rank: _name_of_start(store, rank, 2), range(2)))  # of a former start
        first = pool.submit(_name_of_start, store, 0, 2)
        time.sleep(10 * distributed._POLL)
        assert not first.done()
        assert _name_of_start(store, 1, 2) == first.result(LIMIT)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for the processes in /proc")
def test_a_killed_process_is_started_again_and_the_training_is_as_if_it_had_not_been(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    """torchrun --max-restarts, --or-resume; a hundred kills: scripts/elastic.py."""
    photos, run = make_photos({"cat": 20, "dog": 12}), tmp_path / "killed"
    flags = "--epochs 2 --hidden 8 --image-size 8 8 --batch-size 2 --threads 1 --device cpu --checkpoint-minutes 1e-5"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", "-m"]
    command += ["catdog", "train", "--or-resume", "--data", str(photos), "--out", str(run), *flags.split()]
    training = subprocess.Popen(command)
    while not (run / STATE_FILE).exists():
        time.sleep(0.01)
    children = Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    assert training.wait(LIMIT) == 0
    assert "going on with" in (run / "train.log").read_text()
    config = load_config(run / "config.toml")
    whole = train_by(2, replace(config, run=replace(config.run, out=str(tmp_path / "whole"))))
    for file in (MODEL_FILE, "metrics.csv"):
        assert (run / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_give_the_curve_of_one(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    photos = make_photos({"cat": 20, "dog": 12})
    changes = {"device": "cuda", "precision": "float32", "batch_size": 14, "epochs": 4, **ALL_ON, "accumulate": 1}
    alone = curve(train(small_config(photos, out=str(tmp_path / "1"), **changes), log=quiet))
    together = curve(train_by(2, small_config(photos, out=str(tmp_path / "2"), **changes)))
    for row, expected in zip(together, alone, strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)
