"""JSON as the server gives it."""

import json
from typing import Any

from starlette import responses


class JSONResponse(responses.JSONResponse):
    """All ASCII: a name of a file need not be valid UTF-8, and escaped it comes back from the page as it was."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")
