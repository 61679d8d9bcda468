"""Answers to programs: as `catdog predict --json` gives them; the pixels as `catdog explain` computes them."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from catdog.cli.main import main
from catdog.predict import Classifier
from catdog.server.networks import Networks
from catdog.server.serve import Server
from catdog.tools.explain.explanation import explain


@pytest.mark.parametrize("run", ["small", "cats-dogs"])
def test_an_answer_is_that_of_the_command(
    ask: httpx.Client, photo: Path, place: Path, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(photo), "--json", "--run", str(place / "runs" / run) if run == "small" else run]) == 0
    expected = {**json.loads(capsys.readouterr().out), "path": "tom.jpg"}
    data = photo.read_bytes()
    as_body = ask.post("/api/predict", params={"run": run, "name": "tom.jpg"}, content=data)
    in_form = ask.post("/api/predict", params={"run": run}, files={"photo": ("tom.jpg", data)})
    key = ask.post("/api/photos", params={"name": "tom.jpg"}, content=data).json()["photos"][0]["id"]
    by_id = ask.post("/api/predict", params={"run": run}, json={"photos": [key]})
    for response in (as_body, in_form, by_id):
        found = response.json()
        (answer,) = found["answers"]
        assert found["run"] == run
        assert {name: answer[name] for name in expected} == expected
        assert set(answer) - set(expected) == {"unsure", "unfamiliar"}


def test_not_sure_and_unfamiliar_follow_the_given_limits(ask: httpx.Client, photo: Path) -> None:
    def answer(**limits: float) -> dict[str, Any]:
        content = photo.read_bytes()
        found: dict[str, Any] = ask.post("/api/predict", params={"run": "cats-dogs", **limits}, content=content).json()
        return found["answers"][0]

    plain = answer()
    assert plain["label"] and not plain["unsure"]
    assert answer(unsure_below=1)["unsure"] and answer(unsure_below=1)["label"] is None
    assert answer(unfamiliar_below=1)["unfamiliar"] and not answer(unfamiliar_below=0)["unfamiliar"]


def test_a_photo_that_cannot_be_read_does_not_keep_the_others_from_an_answer(ask: httpx.Client, photo: Path) -> None:
    files = [("p", ("broken.jpg", b"no photo")), ("p", ("tom.jpg", photo.read_bytes()))]
    broken, whole = ask.post("/api/predict", files=files).json()["answers"]
    assert set(broken) == {"path", "error"} and broken["path"] == "broken.jpg"
    assert whole["label"] in ("cat", "dog")


def test_which_pixels_spoke_are_the_numbers_of_explain(ask: httpx.Client, photo: Path, place: Path) -> None:
    key = ask.post("/api/photos", content=photo.read_bytes()).json()["photos"][0]["id"]
    found = ask.get(f"/api/photos/{key}/pixels", params={"run": "small"}).json()
    e = explain(Classifier.load(place / "runs" / "small"), photo.read_bytes(), "tom.jpg", checks=False)
    expected = e.attribution
    assert (found["first"], found["second"]) == (e.classes[expected.first], e.classes[expected.second])
    np.testing.assert_allclose(found["pixels"], expected.pixels, rtol=1e-3)
    assert found["biases"] == pytest.approx(expected.biases) and found["difference"] == pytest.approx(
        expected.difference
    )


@pytest.mark.parametrize(
    ("path", "send", "status", "sentence"),
    [
        ("/api/predict?run=nothing", {"content": b"x"}, 404, "there is no network 'nothing'"),
        ("/api/predict?run=../../etc", {"content": b"x"}, 404, "there is no network"),
        ("/api/predict", {"json": {"photos": ["gone"]}}, 404, "upload it again"),
        ("/api/predict", {"json": {"photos": "gone"}}, 400, '"photos" must be a list'),
        ("/api/predict", {"json": {}}, 400, '"photos" must be a list of 1 to 64 texts; it is missing'),
        ("/api/predict", {"json": [1]}, 400, "not an object"),
        ("/api/predict?unsure_below=2", {"content": b"x"}, 400, '"unsure_below" must be a number from 0 to 1'),
        ("/api/predict?unsure_below=x", {"content": b"x"}, 400, '"unsure_below" must be a number'),
        ("/api/predict", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "is not JSON"),
        ("/api/photos/drawn", {"json": {"seed": 0.5}}, 400, '"seed" must be a whole number'),
        ("/api/photos/drawn", {"json": {"seed": True}}, 400, '"seed" must be a number'),
    ],
)
def test_what_is_wrong_in_a_request_is_said_in_a_sentence(
    ask: httpx.Client, path: str, send: dict[str, Any], status: int, sentence: str
) -> None:
    found = ask.post(path, **send)
    assert found.status_code == status
    assert sentence in found.json()["error"]


def test_networks_are_listed_and_only_those_can_be_asked(ask: httpx.Client, place: Path) -> None:
    found = ask.get("/api/networks").json()
    assert found["first"] == "small"
    small, box = found["networks"]
    assert (small["id"], small["classes"], small["image_size"]) == ("small", ["cat", "dog"], [12, 16])
    assert box["id"] == "cats-dogs" and box["accuracy"] == Classifier.load("cats-dogs").card.validation["accuracy"]


def test_runs_of_one_name_have_ids_of_their_own_and_a_new_run_is_found(place: Path, tmp_path: Path) -> None:
    model = place / "runs" / "small" / "model.safetensors"
    for name in ("a", "cats-dogs"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "model.safetensors").write_bytes(model.read_bytes())
    networks = Networks(tmp_path / "runs", model)
    assert networks.first == "small"
    assert sorted(networks.paths()) == ["a", "cats-dogs", "cats-dogs-2", "small"]
    before = networks.get("a")
    assert networks.get("a") is before
    (tmp_path / "runs" / "b").mkdir()
    (tmp_path / "runs" / "b" / "model.safetensors").write_bytes(b"damaged")
    assert "b" in networks.paths()
    assert any("error" in one for one in networks.describe())


def test_an_id_is_that_of_the_same_network_wherever_it_is_named_and_whatever_is_trained_later(
    start: Callable[..., Server], place: Path, photo: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(place / "runs" / "small", runs / "small")
    with httpx.Client(base_url=start(runs=runs).address, timeout=60) as ask:
        shutil.copytree(runs / "small", runs / "cats-dogs")
        listed = {one["id"]: one["image_size"] for one in ask.get("/api/networks").json()["networks"]}
        assert listed == {"small": [12, 16], "cats-dogs": [96, 96], "cats-dogs-2": [12, 16]}
        assert {one["id"]: one["image_size"] for one in ask.get("/api/runs").json()["runs"]} == listed
        for run, network in (("cats-dogs", "cats-dogs"), ("cats-dogs-2", runs / "small")):
            (answer,) = ask.post("/api/predict", params={"run": run}, content=photo.read_bytes()).json()["answers"]
            assert answer["probabilities"] == Classifier.load(network).predict(photo).probabilities


def test_many_ask_at_once_and_each_gets_its_own_answer(ask: httpx.Client, place: Path) -> None:
    """The answers of 16 threads, of which some are computed together, are those of one."""
    network = Classifier.load(place / "runs" / "small")
    photos = sorted((place / "photos").rglob("*.jpg"))[:16]
    found: dict[str, Any] = {}

    def one(path: Path) -> None:
        found[path.name] = ask.post("/api/predict", content=path.read_bytes()).json()["answers"][0]["probabilities"]

    threads = [threading.Thread(target=one, args=(path,)) for path in photos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in photos:
        assert found[path.name] == pytest.approx(network.predict(path).probabilities, abs=1e-6)
