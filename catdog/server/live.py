"""The one training that the page watches: started, paused, continued and stopped, and what it last told.

It is a process of its own (`catdog.server.training_process`), which no page needs to be open for. It ends with the
server, as at Ctrl-C. Of each thing that it tells, only the newest is kept, so a slow page misses some and delays none.
"""

import asyncio
import contextlib
import itertools
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from catdog.base.worker import start_python
from catdog.checkpoint.model_file import MODEL_FILE
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.server.choices import choices, settings_of
from catdog.server.networks import Networks
from catdog.server.requests import RequestError, json_of, text
from catdog.server.responses import JSONResponse
from catdog.server.runs import run_folder
from catdog.server.state import State

INTERVAL = 0.1  # seconds between two snapshots to one page, at least
_ALIVE = 15.0  # seconds without news after which a stream shows that it is alive
_PATIENCE = 3.5  # seconds that a training has to save what it has when the server ends
_RUNNING = ("starting", "preparing", "training", "paused", "stopping")


class Live:
    """The training of one server, in the folder of all runs. Threads may use it at the same time."""

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._runs = networks.runs
        self._run: Path | None = None
        self._lock = threading.RLock()
        self._versions = itertools.count(1)
        self._parts: dict[str, tuple[int, str]] = {}  # by name, the newest: its version, and its value as JSON
        self._process: subprocess.Popen[bytes] | None = None
        self.is_closed = False
        self._tell("phase", {"phase": "none"})

    def news(self, since: int = 0) -> list[tuple[int, str, str]]:
        """(version, name, value as JSON) of what was told after version `since`, the oldest first."""
        with self._lock:
            return sorted((v, name, value) for name, (v, value) in self._parts.items() if v > since)

    def now(self) -> str:
        """All that it last told, by name, as a JSON object."""
        return "{" + ", ".join(f'"{name}": {value}' for _, name, value in self.news()) + "}"

    def start(self, settings: Mapping[str, Any]) -> None:
        """Start a new training by these fields of the configuration."""
        load_config(None, settings)  # raises CatdogError for what is wrong in them, here
        self._start({"settings": dict(settings)})

    def resume(self, run: Path) -> None:
        """Resume a training that was stopped, exactly where it was."""
        self._start({"resume": str(run)})

    def pause(self) -> None:
        self._command("pause")

    def go_on(self) -> None:
        """Continue a training that is paused, or resume the one that was stopped."""
        with self._lock:
            if not self._is_running() and self._run:
                self.resume(self._run)
            else:
                self._command("continue")

    def stop(self) -> None:
        """Stop as at Ctrl-C: a checkpoint is written, from which the training can be resumed."""
        with self._lock:
            self._command("stop")
            self._tell("phase", {"phase": "stopping"})

    def close(self) -> None:
        """End the training, if there is one, with everything saved; and all streams."""
        with self._lock:
            self.is_closed = True
            process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]  # which is a stop
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:  # its last checkpoint is whole whenever it ends
            process.kill()
            process.wait()

    def _is_running(self) -> bool:
        return json.loads(self._parts["phase"][1])["phase"] in _RUNNING

    def _start(self, task: dict[str, Any]) -> None:
        with self._lock:
            if self._is_running() or self.is_closed:
                raise RequestError(409, "a training is running already, one at a time; stop it first, or wait.")
            self._parts, self._run = {}, None
            self._tell("task", {"number": next(self._versions)})
            self._tell("phase", {"phase": "starting"})
            try:
                process = start_python("from catdog.server.training_process import main; main()")
            except OSError as error:
                self._tell("phase", {"phase": "none"})
                raise CatdogError(f"no process can be started to train in: {error.strerror}.") from None
            self._process = process
            self._write(json.dumps({"folder": str(self._runs.parent), **task}))
            threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _command(self, command: str) -> None:
        with self._lock:
            if not self._is_running():
                raise RequestError(409, "no training is running; start one.")
            self._write(command)

    def _write(self, line: str) -> None:
        process = self._process
        assert process is not None and process.stdin is not None
        with contextlib.suppress(OSError):  # it has just ended, as its last words will say
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the newest of each thing that the process tells, until it has ended."""
        assert process.stdout is not None
        for line in process.stdout:
            name, _, value = line.decode().rstrip("\n").partition(" ")
            with self._lock:
                if name == "run":
                    self._run = self._runs / json.loads(value)
                    value = json.dumps(self._networks.id_of(self._run / MODEL_FILE))
                self._parts[name] = (next(self._versions), value)
        status = process.wait()
        with self._lock:
            if process is self._process and self._is_running():  # it was killed
                sentence = f"the training has ended without a word (status {status}); what it had saved can be resumed."
                self._tell("phase", {"phase": "failed", "sentence": sentence})

    def _tell(self, name: str, value: Any) -> None:
        self._parts[name] = (next(self._versions), json.dumps(value))


def routes(state: State) -> list[Route]:
    live = Live(state.networks)
    state.at_exit.append(live.close)

    async def choose(request: Request) -> Response:
        return JSONResponse(await state.compute(choices, state.data))

    async def start(request: Request) -> Response:
        wanted = await json_of(request)
        if "run" in wanted:
            await state.compute(live.resume, run_folder(state.networks, text(wanted, "run")))
        else:
            await state.compute(lambda: live.start(settings_of(wanted, state.data)))
        return _told(live, 201)

    async def current(request: Request) -> Response:
        return _told(live)

    def command(act: Callable[[], None]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            await state.compute(act)
            return _told(live)

        return handle

    async def events(request: Request) -> Response:
        return StreamingResponse(_stream(live), media_type="text/event-stream", headers={"cache-control": "no-store"})

    return [
        Route("/api/trainings", choose, methods=["GET"]),
        Route("/api/trainings", start, methods=["POST"]),
        Route("/api/trainings/current", current, methods=["GET"]),
        Route("/api/trainings/events", events, methods=["GET"]),
        Route("/api/trainings/current/pause", command(live.pause), methods=["POST"]),
        Route("/api/trainings/current/continue", command(live.go_on), methods=["POST"]),
        Route("/api/trainings/current/stop", command(live.stop), methods=["POST"]),
    ]


def _told(live: Live, status: int = 200) -> Response:
    return Response(live.now(), status, media_type="application/json")


async def _stream(live: Live) -> AsyncIterator[str]:
    """Server-sent events: all that was told, then what is new, each part whole, ten times a second at most."""
    version, silent = 0, 0.0
    while not live.is_closed:
        news = live.news(version)
        if news:
            version, silent = news[-1][0], 0.0
            yield "".join(f"event: {name}\ndata: {value}\n\n" for _, name, value in news)
        elif silent >= _ALIVE:
            silent = 0.0
            yield ": alive\n\n"
        await asyncio.sleep(INTERVAL)
        silent += INTERVAL
