"""Reads what a request holds; what is wrong in it raises `RequestError`, whose sentence says what to do."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from catdog.errors import CatdogError
from catdog.server.responses import JSONResponse

JSON_BYTES = 2**16  # of a body of JSON


class RequestError(CatdogError):
    """A request that cannot be answered: the status of the response, and the sentence in it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def refusal(error: CatdogError) -> JSONResponse:
    """The response to what raised `error`."""
    return JSONResponse({"error": str(error)}, error.status if isinstance(error, RequestError) else 400)


async def body_of(request: Request, most: int) -> bytes:
    """The body of a request, of `most` bytes at most."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > most:
            raise RequestError(413, f"the request holds more than {most:,} bytes; send less at a time.")
    return bytes(found)


async def json_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request; an empty body is an empty object."""
    text = await body_of(request, JSON_BYTES)
    try:
        found = json.loads(text or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RequestError(400, "the body of the request is not JSON; send an object such as {}.") from None
    if not isinstance(found, dict):
        raise RequestError(400, "the body of the request is JSON, but not an object; send one such as {}.")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity, which are no JSON


def text(values: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field that holds a text."""
    found = values.get(name, default)
    if not isinstance(found, str) or len(found) > 1000:
        raise RequestError(400, f'"{name}" must be a text; it is {_shown(found)}.')
    return found


def number(values: Mapping[str, Any], name: str, least: float, most: float, default: float | None = None) -> float:
    """A field that holds a number from `least` to `most`; in the query of an address, as text."""
    found = values.get(name, default)
    if isinstance(found, str):
        try:
            found = float(found)
        except ValueError:
            found = math.nan
    if isinstance(found, bool) or not isinstance(found, int | float) or not least <= found <= most:
        raise RequestError(
            400, f'"{name}" must be a number from {least:g} to {most:g}; it is {_shown(values.get(name))}.'
        )
    return float(found)


def whole(values: Mapping[str, Any], name: str, least: int, most: int, default: int | None = None) -> int:
    """A field that holds a whole number from `least` to `most`."""
    found = number(values, name, least, most, default)
    if found != int(found):
        raise RequestError(400, f'"{name}" must be a whole number; it is {found:g}.')
    return int(found)


def texts(values: Mapping[str, Any], name: str, most: int) -> list[str]:
    """A field that holds a list of 1 to `most` texts."""
    found = values.get(name)
    if not isinstance(found, list) or not 1 <= len(found) <= most or not all(isinstance(one, str) for one in found):
        raise RequestError(400, f'"{name}" must be a list of 1 to {most} texts; it is {_shown(found)}.')
    return found


def _shown(value: Any) -> str:
    return "missing" if value is None else json.dumps(value)[:60]
