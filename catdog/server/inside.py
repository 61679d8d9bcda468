"""Requests of Look inside: an explanation of a photo, steps on it that can be taken back, the textbooks' examples."""

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catdog.errors import CatdogError
from catdog.server import textbook
from catdog.server.photos import as_seen
from catdog.server.requests import RequestError, json_of, number, text, whole
from catdog.server.responses import JSONResponse
from catdog.server.state import State
from catdog.server.stepper import MOST_STEPS, Stepper, Steppers, explanation_as_json

_RATES = 1e-12, 1e6  # the least and the largest learning rate
_MOST_AT_ONCE = 100  # steps in a request
_UNITS = 10**9  # more than a network has


def routes(state: State) -> list[Route]:
    steppers = Steppers()

    def found(request: Request) -> Stepper:
        stepper = steppers.get(request.path_params["steps"])
        if stepper is None:
            raise RequestError(404, "these steps were forgotten, since others were taken later; begin anew.")
        return stepper

    async def begun(request: Request) -> Stepper:
        """A stepper for the photo, network and label that a request names."""
        wanted = await json_of(request)
        run, label = (text(wanted, name) if wanted.get(name) is not None else None for name in ("run", "label"))
        return await state.compute_long(_begin, state, text(wanted, "photo"), run, label)

    async def explain(request: Request) -> Response:
        return JSONResponse(explanation_as_json((await begun(request)).now))

    async def begin(request: Request) -> Response:
        stepper, key = await begun(request), secrets.token_urlsafe(12)
        steppers.add(key, stepper)
        return JSONResponse({"id": key, **stepper.state()})

    async def changed(request: Request, change: Callable[[Stepper], None]) -> Response:
        def act(stepper: Stepper) -> dict[str, Any]:
            with stepper.lock:
                change(stepper)
                return stepper.state()

        return JSONResponse(await state.compute_long(act, found(request)))

    async def step(request: Request) -> Response:
        wanted = await json_of(request)
        rate, times = number(wanted, "lr", *_RATES), whole(wanted, "times", 1, _MOST_AT_ONCE, 1)
        return await changed(request, lambda stepper: stepper.step(rate, times))

    async def back(request: Request) -> Response:
        times = whole(await json_of(request), "times", 1, MOST_STEPS, 1)
        return await changed(request, lambda stepper: stepper.go_to(max(0, len(stepper.rates) - times)))

    async def rewind(request: Request) -> Response:
        return await changed(request, lambda stepper: stepper.go_to(0))

    async def path(request: Request) -> Response:
        wanted = await json_of(request)
        layer, source = (whole(wanted, name, 0, _UNITS) for name in ("layer", "input"))
        return await changed(request, lambda stepper: stepper.choose(layer, source))

    async def neuron(request: Request) -> Response:
        layer, unit = (whole(request.query_params, name, 0, _UNITS) for name in ("layer", "unit"))
        return JSONResponse(await state.compute(found(request).neuron, layer, unit))

    async def outputs(request: Request) -> Response:
        layer = whole(request.query_params, "layer", 0, _UNITS)
        numbers = await state.compute(found(request).outputs, layer)
        return Response(numbers, media_type="application/octet-stream")

    async def template(request: Request) -> Response:
        unit = whole(request.query_params, "unit", 0, _UNITS)
        return JSONResponse(await state.compute(found(request).template, unit))

    async def example(request: Request) -> Response:
        wanted, name = await json_of(request), request.path_params["example"]
        if name not in textbook.EXAMPLES:
            raise RequestError(404, f"the textbooks' examples are {' and '.join(textbook.EXAMPLES)}.")
        weights, given = textbook.start(name), wanted.get("weights", {})
        if not isinstance(given, dict) or not given.keys() <= weights.keys():
            raise RequestError(400, f'"weights" must be an object with numbers for {", ".join(weights)}.')
        weights |= {key: number(given, key, -textbook.MOST, textbook.MOST) for key in given}
        rate, times = number(wanted, "lr", 0, 1000, textbook.RATE), whole(wanted, "times", 0, 1000, 0)
        return JSONResponse(await state.compute(textbook.after_steps, name, weights, rate, times))

    return [
        Route("/api/explain", explain, methods=["POST"]),
        Route("/api/steps", begin, methods=["POST"]),
        Route("/api/steps/{steps}/step", step, methods=["POST"]),
        Route("/api/steps/{steps}/back", back, methods=["POST"]),
        Route("/api/steps/{steps}/rewind", rewind, methods=["POST"]),
        Route("/api/steps/{steps}/path", path, methods=["POST"]),
        Route("/api/steps/{steps}/neuron", neuron, methods=["GET"]),
        Route("/api/steps/{steps}/outputs", outputs, methods=["GET"]),
        Route("/api/steps/{steps}/template", template, methods=["GET"]),
        Route("/api/textbook/{example}", example, methods=["POST"]),
    ]


def _begin(state: State, photo: str, run: str | None, label: str | None) -> Stepper:
    classifier, network = state.networks.get(run), state.networks.backprop(run)
    if label is not None and label not in classifier.classes:
        raise CatdogError(f'"label" must be one of the classes of this network: {", ".join(classifier.classes)}.')
    pixels = as_seen(state.photos.get(photo).data, classifier.card)
    return Stepper(classifier, network, np.ascontiguousarray(pixels.transpose(2, 0, 1)), label)
