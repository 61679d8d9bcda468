"""What a network says of photos, in the form of `catdog predict --json`, and which pixels spoke for which class."""

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from catdog.errors import ImageError
from catdog.server.batches import Batches
from catdog.server.networks import Networks
from catdog.server.photos import UPLOAD_PHOTOS, as_seen, uploads_of
from catdog.server.requests import json_of, number, texts
from catdog.server.responses import JSONResponse
from catdog.server.state import State

if TYPE_CHECKING:
    from catdog.predict import Classifier


def routes(state: State) -> list[Route]:
    batches = Batches(state)

    async def predict(request: Request) -> Response:
        run = request.query_params.get("run")
        unsure_below = number(request.query_params, "unsure_below", 0, 1, 0)
        unfamiliar_below = number(request.query_params, "unfamiliar_below", 0, 1, state.unfamiliar_below)
        if request.headers.get("content-type", "").startswith("application/json"):
            kept = [state.photos.get(key) for key in texts(await json_of(request), "photos", UPLOAD_PHOTOS)]
            photos = [(photo.name, photo.data) for photo in kept]
        else:
            photos = await uploads_of(request)

        async def answer(name: str, data: bytes) -> dict[str, Any]:
            try:
                network, pixels = await state.compute(_decode, state.networks, run, data)
            except ImageError as error:
                return {"path": name, "error": str(error)}
            found = await batches.answer(network, pixels)
            unsure = found.probability < unsure_below
            unfamiliar = found.familiarity is not None and found.familiarity < unfamiliar_below
            label = None if unsure else found.label
            return {"path": name, **vars(found), "label": label, "unsure": unsure, "unfamiliar": unfamiliar}

        answers = await asyncio.gather(*(answer(name, data) for name, data in photos))
        return JSONResponse({"run": run or state.networks.first, "answers": answers})

    async def pixels(request: Request) -> Response:
        photo = state.photos.get(request.path_params["photo"])
        run = request.query_params.get("run")
        return JSONResponse(await state.compute_long(_attribution, state, run, photo.data))

    async def networks(request: Request) -> Response:
        found = await state.compute(state.networks.describe)
        return JSONResponse({"first": state.networks.first, "networks": found})

    return [
        Route("/api/networks", networks, methods=["GET"]),
        Route("/api/predict", predict, methods=["POST"]),
        Route("/api/photos/{photo}/pixels", pixels, methods=["GET"]),
    ]


def _decode(networks: Networks, run: str | None, data: bytes) -> "tuple[Classifier, NDArray[np.uint8]]":
    """A network, and a photo as it sees it: uint8, 3 x H x W."""
    network = networks.get(run)
    return network, as_seen(data, network.card).transpose(2, 0, 1)


def _attribution(state: State, run: str | None, data: bytes) -> dict[str, Any]:
    from catdog.tools.explain.learned import attribute_pixels

    classifier, pixels = _decode(state.networks, run, data)
    network = state.networks.backprop(run)
    found = attribute_pixels(classifier, network, pixels, classifier.logits(pixels[None])[0])
    return {
        "first": classifier.classes[found.first],
        "second": classifier.classes[found.second],
        "pixels": [[float(f"{value:.4g}") for value in row] for row in found.pixels.tolist()],
        "biases": found.biases,
        "difference": found.difference,
    }
