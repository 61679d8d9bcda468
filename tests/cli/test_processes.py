"""What comes to a training from outside: Ctrl-C, a batch system's SIGTERM, a disk that is full or cannot be written.

In processes of their own, and with real limits, not with stand-ins for write().
"""

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes import Catdog

from catdog.checkpoint.saved_state import load_state

pytestmark = pytest.mark.slow
MakePhotos = Callable[..., Path]
SMALL = (
    *[
        "--image-size",
        "16",
        "16",
        "--hidden",
        "16",
        "--batch-size",
        "8",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--learning-rate",
        "3e-3",
    ],
)
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
ENDLESS = (*SMALL, "--epochs", "100000")


def one_line(output: str) -> str:
    """The one line that it said on stderr; the rest is the plan and the epochs."""
    assert "Traceback" not in output
    (line,) = (line for line in output.splitlines() if line.startswith("catdog: "))
    return line


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_saves_says_how_to_go_on_and_ends_quietly(
    make_photos: MakePhotos, tmp_path: Path, number: int, status: int
) -> None:
    run = tmp_path / "run"
    training = Catdog("train", "--data", make_photos({"cat": 20, "dog": 20}), "--out", run, *ENDLESS)
    training.wait_until(lambda: "epoch  " in training.output)
    training.send(number)
    assert training.wait() == status
    assert training.output.splitlines()[-1] == f"stopped and saved; go on with: catdog train --resume {run}"
    assert "Traceback" not in training.output
    assert load_state(run / "last.pt")["progress"]["epoch"] >= 1
    assert not list(run.glob(".*"))


def test_a_terminal_that_is_closed_saves_and_one_that_nohup_ignores_does_not_stop_it(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    """The end of a real terminal: what is printed afterwards cannot be written, and is in train.log."""
    photos = make_photos({"cat": 20, "dog": 20})
    for ignored in (False, True):
        run = tmp_path / f"run-{ignored}"
        terminal, its_end = pty.openpty()
        command = [sys.executable, "-m", "catdog", "train", "--data", str(photos), "--out", str(run), "--folds", "1"]

        def own_it(its_end: int = its_end, ignored: bool = ignored) -> None:
            fcntl.ioctl(its_end, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

        training = subprocess.Popen(
            [*command, *map(str, SMALL), "--epochs", "30" if ignored else "100000"],
            stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True, preexec_fn=own_it,
        )  # fmt: skip
        os.close(its_end)
        while not (run / "metrics.csv").exists():
            assert training.poll() is None
            os.read(terminal, 4096)
        os.close(terminal)
        assert training.wait(60) == (0 if ignored else 129)
        last = (run / "train.log").read_text().splitlines()[-1]
        assert last.startswith("the network is " if ignored else "stopped and saved; go on with: catdog train --resume")
        assert load_state(run / "last.pt")["progress"]["epoch"] >= 1


def test_ctrl_c_again_and_again_ends_it_at_once(make_photos: MakePhotos, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training = Catdog("train", "--data", make_photos({"cat": 20, "dog": 20}), "--out", run, *ENDLESS)
    training.wait_until(lambda: "epoch  " in training.output)
    training.send(signal.SIGINT)
    training.send(signal.SIGINT)
    assert training.wait() == 130
    assert "Traceback" not in training.output
    load_state(run / "last.pt")


@pytest.mark.parametrize(("number", "status"), SIGNALS)
def test_a_signal_while_photos_are_decoded_leaves_nothing_behind(tmp_path: Path, number: int, status: int) -> None:
    """Decoding all of these would take minutes: each is a photo of 30 million pixels."""
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((5000, 6000, 3), np.uint8)).save(tmp_path / "photo.png")
        for i in range(300):
            os.link(tmp_path / "photo.png", tmp_path / "photos" / label / f"{i}.png")
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "catdog" / "pixels"
    training = Catdog("train", "--data", tmp_path / "photos", "--out", tmp_path / "run", *ENDLESS)
    training.wait_until(lambda: len(list(cache.glob(".writing-*/pixels.npy"))) > 0)
    training.send(number)
    assert training.wait(limit=30) == status
    plan, stopped = training.output.splitlines()[-2:]
    assert plan.startswith("run  "), "the plan is the last thing that it said before"
    assert stopped == "stopped before the first step: nothing was trained; start again with the same command."
    assert list(cache.iterdir()) == []
    assert not (tmp_path / "run").exists()


def test_what_a_killed_decoding_has_left_is_removed_at_the_next_start(make_photos: MakePhotos, tmp_path: Path) -> None:
    """But what a live one is writing is not."""
    from catdog.base.work_folder import claimed_folder

    photos, cache = make_photos({"cat": 9, "dog": 9}), tmp_path / "cache" / "pixels"
    (cache / ".writing-killed").mkdir(parents=True)
    with claimed_folder(cache / ".writing-other", lambda: None) as alive:
        training = Catdog(
            "train", "--data", photos, "--out", tmp_path / "run", "--cache", cache.parent, *SMALL, "--epochs", 1
        )
        assert training.wait() == 0
        assert list(cache.glob(".writing-*")) == [alive]


def trained_until_stopped(photos: Path, run: Path) -> tuple[Path, bytes]:
    """An undisturbed run, and the checkpoint of another in the folder `run` that was stopped on the way."""
    flags = (*SMALL, "--hidden", 64, "--epochs", 6)
    whole = photos.parent / "whole"
    assert Catdog("train", "--data", photos, "--out", whole, *flags).wait() == 0
    training = Catdog("train", "--data", photos, "--out", run, *flags)
    training.wait_until(lambda: "epoch 2" in training.output)
    training.send(signal.SIGTERM)
    assert training.wait() == 143
    return whole, (run / "last.pt").read_bytes()


def assert_ends_like(run: Path, whole: Path) -> None:
    assert Catdog("train", "--resume", run).wait() == 0
    for name in ("model.safetensors", "metrics.csv"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    assert not list(run.glob(".*"))


def test_no_room_for_a_checkpoint_leaves_the_one_before(make_photos: MakePhotos, tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole, checkpoint = trained_until_stopped(make_photos({"cat": 20, "dog": 20}), run)
    again = Catdog("train", "--resume", run, largest_file=len(checkpoint) - 1000)
    assert again.wait() == 2
    assert one_line(again.output) == (
        f"catdog: cannot write {run}/last.pt: File too large; what was saved before is whole: make room, or give "
        f"another --out; go on with: catdog train --resume {run}"
    )
    assert (run / "last.pt").read_bytes() == checkpoint
    assert not list(run.glob(".*"))
    assert_ends_like(run, whole)


def test_no_room_at_all_is_said_before_the_training(make_photos: MakePhotos, tmp_path: Path) -> None:
    photos = make_photos({"cat": 20, "dog": 20})
    training = Catdog("train", "--data", photos, "--out", tmp_path / "run", *ENDLESS, largest_file=20_000)
    assert training.wait() == 2
    assert "last.pt: File too large" in one_line(training.output)
    assert "epoch  " not in training.output
    assert not (tmp_path / "run").exists()


def test_no_room_for_the_cache_is_no_hindrance(make_photos: MakePhotos, tmp_path: Path) -> None:
    photos, flags = make_photos({"cat": 20, "dog": 20}), ("--image-size", 100, 100, "--hidden", "--ema", 0)
    training = Catdog("train", "--data", photos, "--out", tmp_path / "run", *flags, "--epochs", 1, largest_file=900_000)
    assert training.wait() == 0
    cached = list((Path(os.environ["XDG_CACHE_HOME"]) / "catdog" / "pixels").iterdir())
    assert len(cached) == 1, "there is room for the few photos to validate on"
    other = ("--out", tmp_path / "run2", "--cache", tmp_path / "cache")
    training = Catdog("train", "--data", photos, *other, *flags, "--epochs", 1, largest_file=900_000)
    assert training.wait() == 2
    assert "cannot write the cache" in one_line(training.output)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "catdog-test", str(place)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_what_was_saved(make_photos: MakePhotos, small_disk: Path) -> None:
    run = small_disk / "run"
    whole, checkpoint = trained_until_stopped(make_photos({"cat": 20, "dog": 20}), run)
    with open(small_disk / "ballast", "wb") as ballast:
        left = shutil.disk_usage(small_disk).free - len(checkpoint) // 2  # for the log, but not for a checkpoint
        ballast.write(b"x" * left)
    again = Catdog("train", "--resume", run)
    assert again.wait() == 2
    assert "No space left on device; what was saved before is whole" in one_line(again.output)
    assert (run / "last.pt").read_bytes() == checkpoint
    assert not list(run.glob(".*"))
    (small_disk / "ballast").unlink()
    assert_ends_like(run, whole)


def test_a_disk_that_cannot_be_written_leaves_what_was_saved(make_photos: MakePhotos, small_disk: Path) -> None:
    run = small_disk / "run"
    whole, checkpoint = trained_until_stopped(make_photos({"cat": 20, "dog": 20}), run)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    again = Catdog("train", "--resume", run)
    assert again.wait() == 2
    assert "Read-only file system" in one_line(again.output)
    assert (run / "last.pt").read_bytes() == checkpoint
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert_ends_like(run, whole)


@pytest.mark.parametrize("verb", ["train", "tune"])
def test_a_signal_while_torch_is_imported_is_answered_in_a_sentence(
    verb: str, make_photos: MakePhotos, tmp_path: Path
) -> None:
    """In a Python of its own, since those that are forked have torch already."""
    slow = "import signal, sys; import catdog.cli.main as cli\n"
    slow += "class Finder:\n    def find_spec(self, name, *_):\n        if name == 'torch':\n"
    slow += "            signal.raise_signal(signal.SIGTERM)\n"
    slow += "sys.meta_path.insert(0, Finder())\n"
    slow += f"sys.exit(cli.main(['{verb}', '--data', '{make_photos({'cat': 9, 'dog': 9})}', '--out', 'deep/run']))"
    done = subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (143, "")
    *_, said = done.stdout.splitlines()
    assert said == "stopped before the first step: nothing was trained; start again with the same command."
    assert not (tmp_path / "deep").exists()
