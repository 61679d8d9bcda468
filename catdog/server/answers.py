"""What a network says of photos, in the form of `catdog predict --json`, and which pixels spoke for which class."""

from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from catdog.errors import ImageError
from catdog.server.photos import UPLOAD_PHOTOS, decode_bounded, uploads_of
from catdog.server.requests import json_of, number, texts
from catdog.server.state import State

if TYPE_CHECKING:
    from catdog.predict import Classifier


def routes(state: State) -> list[Route]:
    async def predict(request: Request) -> Response:
        run = request.query_params.get("run")
        unsure_below = number(request.query_params, "unsure_below", 0, 1, 0)
        unfamiliar_below = number(request.query_params, "unfamiliar_below", 0, 1, state.unfamiliar_below)
        if request.headers.get("content-type", "").startswith("application/json"):
            kept = [state.photos.get(key) for key in texts(await json_of(request), "photos", UPLOAD_PHOTOS)]
            photos = [(photo.name, photo.data) for photo in kept]
        else:
            photos = await uploads_of(request)
        network = await state.compute(state.networks.get, run)
        found = []
        for name, data in photos:
            found.append({"path": name, **await state.compute(_answer, network, data, unsure_below, unfamiliar_below)})
        return JSONResponse({"run": run or state.networks.first, "answers": found})

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


def _answer(network: "Classifier", data: bytes, unsure_below: float, unfamiliar_below: float) -> dict[str, Any]:
    try:
        pixels, _ = decode_bounded(data, network.card.architecture.image_size)
    except ImageError as error:
        return {"error": str(error)}
    (answer,) = network.answers(pixels.transpose(2, 0, 1)[None])
    unsure = answer.probability < unsure_below
    unfamiliar = answer.familiarity is not None and answer.familiarity < unfamiliar_below
    return {**vars(answer), "label": None if unsure else answer.label, "unsure": unsure, "unfamiliar": unfamiliar}


def _attribution(state: State, run: str | None, data: bytes) -> dict[str, Any]:
    from catdog.tools.explain.learned import attribute_pixels

    classifier, network = state.networks.get(run), state.networks.backprop(run)
    pixels = decode_bounded(data, classifier.card.architecture.image_size)[0].transpose(2, 0, 1)
    found = attribute_pixels(classifier, network, pixels, classifier.logits(pixels[None])[0])
    return {
        "first": classifier.classes[found.first],
        "second": classifier.classes[found.second],
        "pixels": [[float(f"{value:.4g}") for value in row] for row in found.pixels.tolist()],
        "biases": found.biases,
        "difference": found.difference,
    }
