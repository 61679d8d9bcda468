"""`catdog serve`."""

import argparse
import importlib.util
import re
from typing import Any

from catdog.cli.flags import UNFAMILIAR, add_run, add_verb
from catdog.errors import CatdogError


def add_serve(verbs: Any) -> None:
    parser = add_verb(
        verbs,
        "serve",
        _serve,
        "a page in the browser: ask the network, look inside it, watch it learn; and the same as an API for programs",
        "needs Starlette and Uvicorn, the extra [web] of catdog\n\n"
        "examples:\n  catdog serve --open                      the page, in the browser\n"
        "  catdog serve --run runs/mine --data photos\n"
        "  curl --data-binary @photo.jpg http://127.0.0.1:8000/api/predict",
    )
    add_run(parser)
    parser.add_argument(
        "--data", metavar="DIR", help="folder that holds folders of photos, to choose from for a training on the page"
    )
    parser.add_argument("--port", metavar="N", type=_port, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone); others need a token",
    )
    parser.add_argument(
        "--token", type=_token, help="what one must know to use it (default: none at 127.0.0.1, else a random one)"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def _serve(arguments: argparse.Namespace) -> int:
    if any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn", "python_multipart")):
        from catdog.base.extras import how_to_install

        raise CatdogError(
            f"catdog serve needs Starlette and Uvicorn, the extra [web] of catdog: {how_to_install('web')}"
        )
    from catdog.server.serve import serve

    return serve(
        arguments.run, arguments.data, arguments.host, arguments.port, arguments.token, arguments.open, UNFAMILIAR
    )


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 2**16:
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, not {text!r}")


def _token(text: str) -> str:
    if re.fullmatch(r"[\w-]{16,200}", text, re.ASCII):
        return text
    raise argparse.ArgumentTypeError("must be 16 letters or more: a to z, digits, - and _")
