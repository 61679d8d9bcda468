"""A training of the page: in a process of its own, paused, stopped, found again, and ended with the server."""

import asyncio
import io
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from conftest import quiet
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from processes import Catdog

from catdog.checkpoint.model_file import MODEL_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.server import live, watch
from catdog.server.app import STATIC
from catdog.server.choices import SETTINGS, folders, settings_of
from catdog.server.learned_pictures import first_weights
from catdog.server.live import Live
from catdog.server.networks import Networks
from catdog.server.voice import Voice
from catdog.server.watch import Curve, Watch
from catdog.train import resume, train
from catdog.trainer.events import Event, StepDone, TrainingStarted

if TYPE_CHECKING:
    import httpx

    from catdog.server.serve import Server

PATIENCE = 180.0  # seconds, after which something is stuck
SMALL = {"hidden": [8], "epochs": 20}


@pytest.fixture(scope="module")
def served(start: "Callable[..., Server]", place: Path, tmp_path_factory: pytest.TempPathFactory) -> "Server":
    """A server with a runs/ of its own, in which the small run lies."""
    runs = tmp_path_factory.mktemp("learner") / "runs"
    shutil.copytree(place / "runs" / "small", runs / "small")
    return start(runs=runs)


@pytest.fixture
def ask(served: "Server") -> "Iterator[httpx.Client]":
    import httpx

    with httpx.Client(base_url=served.address, timeout=60) as client:
        yield client
        client.post("/api/trainings/current/stop")
        wait_for(client, "none", "stopped", "done", "failed")


def wait_for(client: "httpx.Client", *phases: str) -> dict[str, Any]:
    """What the training has told when it is in one of these phases."""
    end = time.monotonic() + PATIENCE
    while (now := client.get("/api/trainings/current").json())["phase"]["phase"] not in phases:
        assert time.monotonic() < end, now
        time.sleep(0.02)
    return dict(now)


def photos_id(client: "httpx.Client") -> str:
    (found,) = [one["id"] for one in client.get("/api/trainings").json()["folders"] if one["name"] == "photos"]
    return str(found)


def test_settings_are_offered_with_their_meaning(ask: "httpx.Client") -> None:
    found = ask.get("/api/trainings").json()
    assert [one["name"] for one in found["settings"]] == list(SETTINGS)
    assert all(one["about"].endswith(".") for one in found["settings"])
    assert {one["name"]: one["choices"] for one in found["settings"]}["loss"] == ["softmax", "svm"]
    assert found["folders"][0] == {"id": "sample", "name": ""}


@pytest.mark.parametrize(
    ("wanted", "status", "sentence"),
    [
        ({"epochs": 0}, 400, "epochs (--epochs) must be from 1"),
        ({"epochs": "many"}, 400, "epochs (--epochs) must be a whole number, not 'many'."),
        ({"hidden": ["a"]}, 400, "hidden (--hidden) must be a list of whole numbers"),
        ({"hidden": [8] * 2000}, 400, "hidden (--hidden) must be 1,000 numbers at most"),
        ({"learning_rate": 1e9}, 400, "learning_rate (--learning-rate) must be from"),
        ({"loss": "svn"}, 400, "did you mean svm?"),
        ({"out": "/tmp/x"}, 400, "there is no setting 'out'"),
        ({"lr": 1}, 400, "did you mean learning_rate?"),
        ({"data": "/etc"}, 404, "these photos are not there any more; choose others."),
        ({"data": "../photos"}, 404, "these photos are not there any more; choose others."),
        ({"data": 3}, 400, '"data" must be a text'),
        ({"run": "../small"}, 404, "there is no run '../small'; GET /api/runs lists those that there are."),
    ],
)
def test_what_is_wrong_in_the_settings_is_one_sentence(
    ask: "httpx.Client", wanted: dict[str, Any], status: int, sentence: str
) -> None:
    found = ask.post("/api/trainings", json=wanted)
    assert (found.status_code, list(found.json())) == (status, ["error"])
    assert sentence in found.json()["error"]
    assert ask.get("/api/trainings/current").json()["phase"]["phase"] not in live._RUNNING


NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    NUMBERS | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*SETTINGS, "data"]) | st.text(max_size=9), VALUES, max_size=4))
def test_any_settings_are_taken_or_refused_in_a_sentence(wanted: dict[str, Any]) -> None:
    try:
        config = load_config(None, settings_of(wanted, None))
    except CatdogError as error:
        assert len(str(error).splitlines()) == 1 and str(error).endswith((".", "?"))
    else:
        assert config.photos.data == "sample" and config.photos.folds == 1


@pytest.mark.parametrize("command", ["pause", "stop"])
def test_a_command_without_a_training_says_so(ask: "httpx.Client", command: str) -> None:
    found = ask.post(f"/api/trainings/current/{command}")
    assert (found.status_code, found.json()["error"]) == (409, "no training is running; start one.")


@pytest.mark.slow
def test_paused_stopped_and_resumed_it_ends_as_the_one_left_alone(
    ask: "httpx.Client", served: "Server", place: Path, tmp_path: Path
) -> None:
    runs = served._state.networks.runs
    settings = {**SMALL, "data": photos_id(ask)}
    assert ask.post("/api/trainings", json=settings).status_code == 201
    ask.post("/api/trainings/current/pause")  # while it starts: it pauses at its first step
    paused = wait_for(ask, "paused")
    assert (paused["step"]["epoch"], paused["step"]["step"], len(paused["photos"])) == (
        1,
        1,
        len(paused["pictures"]["answers"]),
    )
    assert "photos     " in paused["log"]["plan"][0]

    # Another one is refused; a page that comes later finds this one where it is.
    assert ask.post("/api/trainings", json=settings).status_code == 409
    told = set()
    with ask.stream("GET", "/api/trainings/events") as events:
        for line in events.iter_lines():
            told.add(line)
            if line == "event: phase":
                break
    assert {"event: task", "event: about", "event: photos", "event: step", "event: pictures"} <= told

    ask.post("/api/trainings/current/continue")
    ask.post("/api/trainings/current/stop")
    stopped = wait_for(ask, "stopped")
    assert stopped["phase"]["saved"] and (runs / stopped["run"] / STATE_FILE).exists()
    (listed,) = [one for one in ask.get("/api/runs").json()["runs"] if one["id"] == stopped["run"]]
    assert listed["can_continue"] and listed["settings"]["hidden"] == [8]

    ask.post("/api/trainings/current/continue")
    done = wait_for(ask, "done")
    assert done["run"] == stopped["run"] and len(done["epochs"]) == 20
    assert "best after epoch" in done["log"]["notes"][-1] and done["doctor"]
    api = json.loads((STATIC / "openapi.json").read_text("utf-8"))
    form = {**api["components"]["schemas"]["Training"], "components": api["components"]}
    for told_by in (paused, stopped, done):
        Draft202012Validator(form).validate(told_by)
    (listed,) = [one for one in ask.get("/api/runs").json()["runs"] if one["id"] == done["run"]]
    assert not listed["can_continue"] and listed["best"]["val_accuracy"] == max(
        row["val_accuracy"] for row in done["epochs"]
    )

    fields = {**SMALL, "data": str(place / "photos"), "folds": 1, "start_from": "none", "out": str(tmp_path / "alone")}
    alone = train(load_config(None, fields), log=quiet)
    assert (alone / "metrics.csv").read_bytes() == (runs / done["run"] / "metrics.csv").read_bytes()
    ours, theirs = (load_model(run / MODEL_FILE)[0] for run in (runs / done["run"], alone))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_a_run_stopped_within_its_folds_is_continued_and_told_by_its_id(
    ask: "httpx.Client", served: "Server", place: Path
) -> None:
    def stop(line: str) -> None:
        if line.startswith("fold 1 of 2"):
            raise KeyboardInterrupt

    run = served._state.networks.runs / "cats-dogs"  # as the network that comes with catdog is called
    fields = {**SMALL, "data": str(place / "photos"), "folds": 2, "start_from": "none", "epochs": 2, "out": str(run)}
    with pytest.raises(KeyboardInterrupt):
        train(load_config(None, fields), log=stop)
    (listed,) = [one["id"] for one in ask.get("/api/runs").json()["runs"] if one.get("can_continue")]
    assert ask.post("/api/trainings", json={"run": listed}).status_code == 201
    assert wait_for(ask, "done", "failed")["run"] == listed == "cats-dogs-2"
    (network,) = [one for one in ask.get("/api/networks").json()["networks"] if one["id"] == listed]
    assert network["classes"] == ["cat", "dog"] and (run / MODEL_FILE).exists()
    shutil.rmtree(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "phase"), [(signal.SIGTERM, "training"), (signal.SIGTERM, "paused"), (signal.SIGKILL, "training")]
)
def test_the_training_ends_with_the_server_and_everything_is_saved(
    place: Path, number: signal.Signals, phase: str
) -> None:
    import httpx

    server = Catdog("serve", "--port", 0, "--data", place)
    server.wait_until(lambda: "Ctrl-C" in server.output)
    address = server.output.split("the page is at ")[1].split()[0]
    with httpx.Client(base_url=address, timeout=60) as client:
        client.post("/api/trainings", json={"data": photos_id(client), "hidden": [8], "epochs": 100_000})
        if phase == "paused":
            client.post("/api/trainings/current/pause")
        run = Path("runs") / wait_for(client, phase)["run"]
        with client.stream("GET", "/api/trainings/events") as events:  # a page that is open
            next(events.iter_lines())
            server.send(number)
            assert server.wait(10) == (128 + number if number == signal.SIGTERM else -number)
    end = time.monotonic() + PATIENCE
    while "stopped and saved" not in (run / "train.log").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    torch.load(run / STATE_FILE, weights_only=True)


def test_a_slow_page_is_told_the_newest_of_each_thing() -> None:
    def lines(first: int) -> io.BytesIO:
        return io.BytesIO(
            b"".join(b'step {"step": %d}\nphase {"phase": "training"}\n' % i for i in range(first, first + 1000))
        )

    class Process:
        def __init__(self, first: int) -> None:
            self.stdout = lines(first)
            training._process = self  # type: ignore[assignment]

        def wait(self) -> int:
            return 0

    training = Live(Networks())

    async def page() -> list[str]:
        stream = live._stream(training)
        training._listen(Process(0))  # type: ignore[arg-type]
        first = await anext(stream)
        training._listen(Process(1000))  # type: ignore[arg-type]
        return [first, await anext(stream)]

    for told, last in zip(asyncio.run(page()), (999, 1999), strict=True):
        assert told.count("event: step\n") == 1 and f'data: {{"step": {last}}}\n' in told
    assert json.loads(training.now())["phase"]["phase"] == "failed"  # it has ended without a word
    before = Process(0)
    Process(0)
    training._listen(before)  # type: ignore[arg-type]
    assert json.loads(training.now())["phase"]["phase"] == "training"  # the end of the one before says nothing of it


class Told(Voice):
    """What the process of a training would tell the server."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, Any]] = []
        self._plan, self._notes, self._is_planning = [], [], True

    def tell(self, name: str, value: Any) -> None:
        self.parts.append((name, json.loads(json.dumps(value))))


GOING = threading.Event()
GOING.set()


def test_figures_are_told_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    told = Told()
    watching = Watch(told, GOING)
    for step in range(1, 1001):
        clock[0] += 0.01
        watching(StepDone(1, step, 1000, torch.tensor([0.5, 0.25, 1.0]).double() * step))
    assert 95 <= len(told.parts) <= 101 and {name for name, _ in told.parts} == {"step"}
    last = told.parts[-1][1]
    assert (last["loss"], last["accuracy"]) == (0.5, 0.25)
    assert all(point[1:] == [0.5, 0.25] for point in last["points"])


def test_the_curve_within_the_epochs_stays_short_and_true() -> None:
    curve, losses = Curve(), np.random.default_rng(0).random(2000)
    for step, loss in enumerate(losses, start=1):
        curve.add(step / 2000, loss, 1.0, 1.0)
    points = np.array(curve.points())
    assert 100 < len(points) <= watch._POINTS
    ends = np.round(2000 * points[:, 0]).astype(int)
    means = [losses[first:last].mean() for first, last in zip([0, *ends], ends, strict=False)]
    assert np.allclose(points[:, 1], means, rtol=1e-4) and ends[-1] == 2000
    assert np.ptp(np.diff(ends[:-1])) == 0  # all are as wide


def test_watching_changes_no_number(
    small_config: Callable[..., Config], make_photos: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_photos({"cat": 12, "dog": 12})
    told = Told()
    watching = Watch(told, GOING)
    watched = train(small_config(data, out=str(tmp_path / "watched"), ema=0.0), quiet, [watching])
    alone = train(small_config(data, out=str(tmp_path / "alone"), ema=0.0), quiet)
    assert (watched / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()
    assert (watched / MODEL_FILE).read_bytes() == (alone / MODEL_FILE).read_bytes()
    parts = dict(told.parts)
    assert len(parts["epochs"]) == 3 and len(parts["pictures"]["units"]) == 16
    assert np.allclose([sum(one) for one in parts["pictures"]["answers"]], 1, atol=1e-3)


def test_what_neurons_have_learned_is_measured_from_the_same_start_after_a_stop(
    small_config: Callable[..., Config], make_photos: Callable[..., Path]
) -> None:
    found = []

    def listen(event: Event) -> None:
        if isinstance(event, TrainingStarted):
            found.append(first_weights(event.trainer))

    run = train(small_config(make_photos({"cat": 12, "dog": 12}), epochs=1), quiet, [listen])
    before = torch.random.get_rng_state()
    resume(run, quiet, [listen], epochs=2)
    assert len(found) == 2 and found[0].keys() == found[1].keys()
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert before.shape == torch.random.get_rng_state().shape


def test_folders_of_photos_are_found_one_level_down_or_here(make_photos: Callable[..., Path], tmp_path: Path) -> None:
    make_photos({"cat": 2, "dog": 2}, "all/pets")
    make_photos({"cat": 2, "dog": 2}, "all/split/train")
    make_photos({"cat": 2, "dog": 2}, "all/split/val")
    (tmp_path / "all" / "empty").mkdir()

    def names(root: Path | None) -> list[str]:
        return [Path(found).name for found in folders(root).values()]

    assert names(None) == ["sample"]
    assert names(tmp_path / "all") == ["sample", "pets", "split"]
    assert names(tmp_path / "all" / "split") == ["sample", "split"]
    assert names(tmp_path / "all" / "pets") == ["sample", "pets"]
    key = next(key for key, found in folders(tmp_path / "all").items() if found.endswith("pets"))
    assert settings_of({"data": key}, tmp_path / "all")["data"] == str(tmp_path / "all" / "pets")
