"""Requests of Look inside, as a program sends them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from catdog.predict import Classifier
from catdog.tools.explain import textbook
from catdog.tools.explain.explanation import explain

Post = Callable[..., dict[str, Any]]


@pytest.fixture
def post(ask: httpx.Client) -> Post:
    """post(path, status=200, name=value, ...) -> the JSON that comes back."""

    def send(path: str, status: int = 200, **values: Any) -> dict[str, Any]:
        response = ask.post(path, json=values)
        assert response.status_code == status, response.text
        found: dict[str, Any] = response.json()
        return found

    return send


@pytest.fixture
def key(ask: httpx.Client, photo: Path) -> str:
    """The id of a photo that was uploaded."""
    uploaded = ask.post("/api/photos", content=photo.read_bytes()).json()
    return str(uploaded["photos"][0]["id"])


def test_an_explanation_has_the_numbers_of_explain(post: Post, key: str, place: Path, photo: Path) -> None:
    e = explain(Classifier.load(place / "runs" / "small"), photo.read_bytes(), "-", checks=False)
    found = post("/api/explain", photo=key)
    assert found["final"] == list(e.final) and found["loss"] == e.loss_value and found["label"] == e.label
    assert [link["unit"] for link in found["chain"]] == [*e.path, e.label]
    assert found["squared_norm"] == e.squared_norm
    other = e.classes[1 - e.label]
    assert post("/api/explain", photo=key, label=other)["label"] == 1 - e.label


def test_steps_go_forth_and_back(post: Post, key: str, ask: httpx.Client) -> None:
    start = post("/api/steps", photo=key, run="small", label="dog")
    steps = f"/api/steps/{start.pop('id')}"
    once = post(f"{steps}/step", lr=start["rate"])
    assert once["steps"] == 1 and once["loss"] < start["loss"] and len(once["curve"]) == 2
    assert post(f"{steps}/step", lr=start["rate"], times=10)["steps"] == 11
    assert post(f"{steps}/back", times=10) == once
    assert post(f"{steps}/rewind") == start
    assert post(f"{steps}/back") == start
    path = post(f"{steps}/path", layer=2, input=7)["chain"]
    assert path[2]["input"] == path[1]["unit"] == 7
    neuron = ask.get(f"{steps}/neuron", params={"layer": 1, "unit": 7}).json()
    assert neuron["out"] == path[1]["out"]
    given = np.frombuffer(ask.get(f"{steps}/outputs", params={"layer": 1}).content, "<f4")
    assert len(given) == 12 and given[7] == np.float32(neuron["out"])


@pytest.mark.parametrize(
    ("path", "values", "status", "words"),
    [
        ("/api/explain", {}, 400, '"photo"'),
        ("/api/explain", {"photo": "none"}, 404, "upload it again"),
        ("/api/steps", {"photo": "KEY", "label": "cow"}, 400, "cat, dog"),
        ("/api/steps", {"photo": "KEY", "run": "../../etc"}, 404, "GET /api/networks"),
        ("/api/steps/none/step", {"lr": 1}, 404, "begin anew"),
        ("STEPS/step", {}, 400, '"lr"'),
        ("STEPS/step", {"lr": 0}, 400, '"lr"'),
        ("STEPS/step", {"lr": 1, "times": 101}, 400, '"times"'),
        ("STEPS/path", {"layer": 3, "input": 0}, 400, "no such input"),
        ("STEPS/path", {"layer": 0.5, "input": 0}, 400, "whole number"),
        ("/api/textbook/third", {}, 404, "network and circuit"),
        ("/api/textbook/circuit", {"weights": {"w9": 1}}, 400, "w0, w1, w2"),
        ("/api/textbook/circuit", {"weights": {"w0": 1e9}}, 400, "from -100 to 100"),
        ("/api/textbook/network", {"weights": [1]}, 400, '"weights"'),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(
    post: Post, key: str, path: str, values: dict[str, Any], status: int, words: str
) -> None:
    steps = f"/api/steps/{post('/api/steps', photo=key)['id']}" if "STEPS" in path else ""
    given = {name: key if value == "KEY" else value for name, value in values.items()}
    assert words in post(path.replace("STEPS", steps), status, **given)["error"]


def test_a_neuron_that_is_not_there_is_refused(post: Post, key: str, ask: httpx.Client) -> None:
    steps = f"/api/steps/{post('/api/steps', photo=key)['id']}"
    for layer, unit in ((3, 0), (0, 16), (-1, 0)):
        assert ask.get(f"{steps}/neuron", params={"layer": layer, "unit": unit}).status_code == 400
    assert ask.get(f"{steps}/outputs", params={"layer": 3}).status_code == 400


def test_the_textbooks_network_is_that_of_explain(post: Post) -> None:
    graph = textbook.network()
    found = post("/api/textbook/network")
    assert {name: n["value"] for name, n in found["numbers"].items()} == {name: graph[name] for name in graph.numbers}
    assert all(n["gradient"] == graph.gradient(name) for name, n in found["numbers"].items())
    once = post("/api/textbook/network", weights=found["weights"], lr=0.5, times=1)
    assert list(once["weights"].values()) == textbook.step(graph) and list(once["weights"]) == list(found["weights"])
    ten = post("/api/textbook/network", weights=json.loads(json.dumps(once["weights"])), lr=0.5, times=9)
    assert ten["numbers"]["E"]["value"] == textbook.error_after(10)


def test_the_textbooks_circuit_falls_along_its_gradient(post: Post) -> None:
    found = post("/api/textbook/circuit")
    assert found["numbers"]["f"]["value"] == pytest.approx(0.7310586, abs=1e-7)
    assert found["numbers"]["w0"]["gradient"] == pytest.approx(-0.19661193, abs=1e-7)
    once = post("/api/textbook/circuit", lr=0.1, times=1)
    assert once["weights"]["w0"] == found["weights"]["w0"] - 0.1 * found["numbers"]["w0"]["gradient"]
    assert once["numbers"]["f"]["value"] < found["numbers"]["f"]["value"]
    assert "smaller" in post("/api/textbook/circuit", 400, lr=1000, times=1)["error"]


def test_no_step_however_long_ends_in_anything_but_numbers_or_a_sentence(
    post: Post, key: str, ask: httpx.Client
) -> None:
    steps = f"/api/steps/{post('/api/steps', photo=key, label='dog')['id']}"
    for rate in (1e-12, 1.0, 1e3, 1e6, 1e6, 1e6):
        response = ask.post(f"{steps}/step", json={"lr": rate, "times": 3})
        assert response.status_code == 200 or "smaller" in response.json()["error"]
        assert ask.get(f"{steps}/neuron", params={"layer": 0, "unit": 0}).status_code == 200
