"""`catdog serve` as a process: what it prints, what it imports, how it ends."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from catdog.cli.main import main

REPORT = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr)); "
RUN = "from catdog.cli.main import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def serving(*flags: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process, and the address that it prints."""
    argv = [sys.executable, "-c", REPORT + RUN, "serve", "--port", "0", *flags]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("the page is at http://") and line.endswith(" (Ctrl-C ends it)\n"), line
        yield process, line.split()[4]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_without_torch_and_ends_with_a_signal(number: int) -> None:
    with serving("--run", "cats-dogs") as (process, address):
        found = httpx.post(address + "api/photos/drawn", timeout=30).json()["photos"][0]
        answer = httpx.post(address + "api/predict", json={"photos": [found["id"]]}, timeout=30).json()["answers"][0]
        assert answer["label"] in ("cat", "dog")
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 128 + number
        assert errors == "False\n"  # no torch, and nothing else to say


@pytest.mark.slow
def test_it_ends_although_requests_are_being_answered() -> None:
    with serving("--run", "cats-dogs") as (process, address):
        port = int(address.split(":")[2].strip("/"))
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            httpx.get(address)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            assert process.returncode == 128 + signal.SIGTERM


def test_a_port_that_is_taken_is_named(served: object, capsys: pytest.CaptureFixture[str]) -> None:
    port = str(served.address).split(":")[2].strip("/")  # type: ignore[attr-defined]
    assert main(["serve", "--port", port]) == 2
    assert f"cannot listen at 127.0.0.1 port {port}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--port", "70000"], "must be a whole number from 0 to 65535"),
        (["--token", "short"], "must be 16 letters or more"),
        (["--data", "nothing"], "there is no folder nothing"),
        (["--run", "nothing"], "there is no run nothing"),
    ],
)
def test_a_wrong_flag_is_said_in_a_sentence(
    flags: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *flags]) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["serve"]) == 2
    expected = "catdog: catdog serve needs Starlette and Uvicorn, the extra [web] of catdog: pip install "
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.slow
def test_beyond_this_machine_it_has_a_token_that_none_knows() -> None:
    with serving("--host", "0.0.0.0") as (_, address):
        own, _, token = address.partition("#token=")
        port = own.split(":")[2].strip("/")
        assert len(token) >= 24
        assert httpx.get(f"http://127.0.0.1:{port}/api/networks").status_code == 401
        headers = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"http://127.0.0.1:{port}/api/networks", headers=headers).status_code == 200
