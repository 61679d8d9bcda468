"""The API's description: every route, and nothing else; what comes is of the form that it says."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator, ValidationError
from starlette.routing import Route

from catdog.server.app import STATIC, make_app
from catdog.server.networks import Networks
from catdog.server.state import State

API = json.loads((STATIC / "openapi.json").read_text("utf-8"))


def test_each_route_is_described_and_nothing_else() -> None:
    routes = [route for route in make_app(State(Networks())).routes if isinstance(route, Route)]
    ours = {(r.path, method) for r in routes for method in (r.methods or ()) if r.path.startswith("/api/")}
    described = {(path, method.upper()) for path, methods in API["paths"].items() for method in methods}
    assert described == {(path, method) for path, method in ours if method != "HEAD"}


def test_what_is_referred_to_is_there() -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            return [
                *([part["$ref"]] if "$ref" in part else []),
                *(r for value in part.values() for r in references(value)),
            ]
        return [r for value in part for r in references(value)] if isinstance(part, list) else []

    for reference in references(API):
        found = API
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
    for path, methods in API["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and operation["responses"], (path, method)


def is_as_described(response: httpx.Response, path: str) -> bool:
    """Whether a response of JSON is of the form that is described for its path, method and status."""
    responses = API["paths"][path][response.request.method.lower()]["responses"]
    described = responses.get(str(response.status_code)) or API["components"]["responses"]["Problem"]
    schema = {**described["content"]["application/json"]["schema"], "components": API["components"]}
    Draft202012Validator(schema).validate(response.json())
    return True


def test_what_comes_is_of_the_form_that_is_described(ask: httpx.Client, photo: Path) -> None:
    data = photo.read_bytes()
    uploaded = ask.post("/api/photos", files=[("a", ("a.jpg", data)), ("b", ("b.jpg", b"no photo"))])
    key = uploaded.json()["photos"][0]["id"]
    assert is_as_described(uploaded, "/api/photos")
    assert is_as_described(ask.post("/api/photos", content=b"no photo"), "/api/photos")
    assert is_as_described(ask.post("/api/photos/drawn", json={}), "/api/photos/drawn")
    assert is_as_described(ask.get("/api/networks"), "/api/networks")
    assert is_as_described(ask.get(f"/api/photos/{key}/pixels"), "/api/photos/{photo}/pixels")
    for run in ("small", "cats-dogs", "nothing"):
        for files in ({"a": data}, {"a": b"no photo"}):
            assert is_as_described(ask.post("/api/predict", params={"run": run}, files=files), "/api/predict")


def test_what_look_inside_gets_is_of_the_form_that_is_described(ask: httpx.Client, photo: Path) -> None:
    wanted = {"photo": ask.post("/api/photos", content=photo.read_bytes()).json()["photos"][0]["id"]}
    assert is_as_described(ask.post("/api/explain", json=wanted), "/api/explain")
    begun = ask.post("/api/steps", json=wanted)
    assert is_as_described(begun, "/api/steps")
    steps = f"/api/steps/{begun.json()['id']}"
    for name, values in (("step", {"lr": 0.01}), ("path", {"layer": 1, "input": 2}), ("back", {}), ("rewind", {})):
        assert is_as_described(ask.post(f"{steps}/{name}", json=values), f"/api/steps/{{steps}}/{name}")
    template = ask.get(f"{steps}/template", params={"unit": 3})
    assert is_as_described(template, "/api/steps/{steps}/template")
    neuron = ask.get(f"{steps}/neuron", params={"layer": 0, "unit": 3})
    assert is_as_described(neuron, "/api/steps/{steps}/neuron")
    for example in ("network", "circuit"):
        assert is_as_described(ask.post(f"/api/textbook/{example}", json={}), "/api/textbook/{example}")


def test_a_form_that_is_not_described_would_be_noticed(ask: httpx.Client) -> None:
    with pytest.raises(ValidationError):
        is_as_described(ask.get("/api/networks"), "/api/photos/{photo}/pixels")


def test_runs_and_trainings_are_of_the_form_that_is_described(ask: httpx.Client) -> None:
    for path in ("/api/runs", "/api/trainings", "/api/trainings/current"):
        assert is_as_described(ask.get(path), path)
    assert is_as_described(ask.post("/api/trainings", json={"epochs": 0}), "/api/trainings")
    assert is_as_described(ask.post("/api/trainings/current/stop"), "/api/trainings/current/stop")
