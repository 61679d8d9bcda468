"""Hostile requests: other sites, wrong tokens, broken and endless bodies, slow and many connections, odd paths."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catdog.predict import Classifier, Prediction
from catdog.server import connection, guard, photos
from catdog.server.serve import Server

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKEN = "a-token-of-some-length"


def port_of(server: Server) -> int:
    return int(server.address.split(":")[2].split("/")[0])


def raw(server: Server, data: bytes, limit: float = 20) -> bytes:
    """What the server sends to these bytes, until it closes; the writing end is closed after them."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=limit) as client:
        with suppress(OSError):  # it has closed already
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        return rest_of(client)


def rest_of(client: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while part := client.recv(65536):
            found += part
    return found


def is_well(server: Server) -> None:
    """It answers others as before."""
    assert httpx.get(server.address + "api/networks", timeout=20).json()["first"] == "small"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:1"}, 200),
        ({"host": "[::1]:80"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"host": "evil.example:8000"}, 403),
        ({"host": ""}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "OWN"}, 200),
        ({"origin": "http://localhost:1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"sec-fetch-site": "none"}, 200),
    ],
)
def test_only_the_own_page_may_ask(served: Server, headers: dict[str, str], status: int) -> None:
    own = served.address.rstrip("/")
    headers = {name: own if value == "OWN" else value for name, value in headers.items()}
    assert httpx.get(f"{own}/api/networks", headers=headers).status_code == status


def test_two_hosts_are_refused(served: Server) -> None:
    assert b" 40" in raw(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[:20]


def test_every_response_has_the_headers_that_keep_other_code_out(served: Server) -> None:
    for path, method in (("", "GET"), ("api/networks", "GET"), ("nothing", "GET"), ("api/predict", "DELETE")):
        found = httpx.request(method, served.address + path).headers
        policy = found["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
        assert found["x-content-type-options"] == "nosniff" and found["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in found and "server" not in found
    assert httpx.get(served.address + "api/networks").headers["cache-control"] == "no-store"


def test_a_token_is_asked_for_everywhere_but_for_the_empty_page(start: Callable[..., Server]) -> None:
    server = start(token=TOKEN)
    own = server.address.split("#")[0]
    assert server.address.endswith(f"#token={TOKEN}")
    assert httpx.get(own).status_code == 200
    for given_token in ("", "Bearer", "Bearer wrong", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", "Bearer \xe9"):
        headers = [(b"authorization", given_token.encode("latin-1"))] if given_token else []
        found = httpx.get(own + "api/networks", headers=headers)
        assert found.status_code == 401 and "Authorization: Bearer" in found.json()["error"]
        assert httpx.post(own + "api/session", headers=headers).status_code == 401
    right = {"authorization": f"Bearer {TOKEN}"}
    assert httpx.get(own + "api/networks", headers=right).status_code == 200
    with httpx.Client(base_url=own) as client:
        cookie = client.post("api/session", headers=right).headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert client.get("api/networks").status_code == 200  # by the cookie
    # With a token, any name of the machine will do: another site's pages do not know it.
    assert httpx.get(own + "api/networks", headers={**right, "host": "laptop.local"}).status_code == 200


PATHS = ["../pyproject.toml", "..%2f..%2fserve.py", "static/main.js", "%2e%2e/app.py", "/etc/passwd", "main.js%00.css"]
PATHS += ["api/photos/..%2f..%2fserve.py", "api/photos/%2fetc%2fpasswd/seen", "..\\app.py", "main.js/", "./main.js"]


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(served: Server, path: str) -> None:
    found = raw(served, f"GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert found.startswith(b"HTTP/1.1 404") and b"import " not in found and b"root:" not in found


@pytest.mark.slow
@QUIET
@given(st.text(min_size=1, max_size=80))
def test_no_text_is_taken_for_a_photo_or_a_network(served: Server, text: str) -> None:
    found = httpx.get(f"{served.address}api/photos/{quote(text, safe='')}", params={"run": text})
    assert found.status_code in (404, 405) and found.json()["error"]  # a client makes /api/photos of /api/photos/.
    found = httpx.post(served.address + "api/predict", params={"run": text}, content=b"x")
    assert found.status_code in (200, 404) and (found.status_code == 404 or text in ("small", "cats-dogs"))


@pytest.mark.slow
@QUIET
@given(st.binary(max_size=400))
def test_bytes_that_are_no_request_break_nothing(served: Server, data: bytes) -> None:
    raw(served, data)
    raw(served, b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\n" + data)
    is_well(served)


form = st.lists(
    st.one_of(
        st.sampled_from([b"--B", b"--B--", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="a"']),
        st.sampled_from([b'; filename="x.jpg"', b"Content-Type: image/jpeg", b": ", b"\xff\xd8\xff", b"--"]),
        st.binary(max_size=40),
    ),
    max_size=25,
).map(b"".join)


@QUIET
@given(form, st.sampled_from([b"B", b"", b'"', b"B; charset=utf-7", b"x" * 300]))
def test_a_broken_form_is_refused_and_breaks_nothing(served: Server, data: bytes, boundary: bytes) -> None:
    head = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += b"Content-Type: multipart/form-data; boundary=%s\r\nContent-Length: %d\r\n\r\n" % (boundary, len(data))
    found = raw(served, head + data)
    status, _, body = found.partition(b"\r\n\r\n")
    assert status.startswith((b"HTTP/1.1 400", b"HTTP/1.1 200")), found
    assert json.loads(body)


values = st.none() | st.booleans() | st.floats() | st.text()


@pytest.mark.slow
@QUIET
@given(st.recursive(values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_is_answered_with_a_sentence(served: Server, value: object) -> None:
    for path in ("api/predict", "api/photos/drawn"):
        for body in (value, {"photos": value, "label": value, "seed": value}):
            text = json.dumps(body)
            found = httpx.post(served.address + path, content=text, headers={"content-type": "application/json"})
            assert found.status_code in (200, 400, 404) and (found.status_code == 200 or found.json()["error"])


def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Server) -> None:
    head = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\n"
    found = raw(served, head + b"Content-Length: %d\r\n\r\n" % (10 * guard.BODY_BYTES))
    assert found.startswith(b"HTTP/1.1 413") and b"MiB" in found


def test_an_endless_body_is_broken_off(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_BYTES", 10**6)
    head = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    found = raw(served, head + (b"%x\r\n" % 2**16 + b"x" * 2**16 + b"\r\n") * 100)
    assert found == b"" or found.startswith(b"HTTP/1.1 413")  # sent, or the connection was reset before we read it
    is_well(served)


def test_a_form_is_held_to_its_limits(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "UPLOAD_BYTES", 10**5)
    found = httpx.post(served.address + "api/photos", files={"a": b"x" * 200_000})
    assert found.status_code == 413 and "fewer photos" in found.json()["error"]
    found = httpx.post(served.address + "api/photos", files=[("a", b"x")] * (photos.UPLOAD_PHOTOS + 1))
    assert found.status_code == 400 and "Too many files" in found.json()["error"]


def test_a_form_is_never_written_to_a_disk(served: Server, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a temporary file was opened")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    padded = photo.read_bytes() + bytes(5 * 2**20)
    assert httpx.post(served.address + "api/photos", files={"a": padded}).status_code == 200


def test_a_head_or_a_body_that_does_not_come_is_waited_for_in_vain_for_a_while(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.3)
    monkeypatch.setattr(guard, "PATIENCE", 0.6)
    server = start()
    head = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\n"
    with ExitStack() as stack:
        clients = []
        for data in (b"", b"GET / HT", head, head + b"Content-Length: 1000\r\n\r\nabc"):
            clients.append(stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=20)))
            clients[-1].sendall(data)
        silent, begun, headless, bodyless = (rest_of(client) for client in clients)
        assert (silent, begun, headless) == (b"", b"", b"")
        assert bodyless.startswith(b"HTTP/1.1 408") and b"send it again" in bodyless
        # A request, then half of another on the same connection.
        again = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server)), timeout=20))
        again.sendall(b"GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\nGET /")
        assert rest_of(again).count(b"HTTP/1.1 200") == 1
    is_well(server)


@pytest.mark.slow
def test_responses_that_nobody_takes_are_broken_off(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    server, count = start(), 3000
    with held(server, 1) as (client,):
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        writer = threading.Thread(target=lambda: sends(client, request * count))
        writer.start()
        end = time.monotonic() + 20
        while server.server_state.connections:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert rest_of(client).count(b"HTTP/1.1 200") < count
        writer.join()
    is_well(server)


def sends(client: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        client.sendall(data)


@contextmanager
def held(server: Server, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        address = ("127.0.0.1", port_of(server))
        yield [stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(count)]


@pytest.mark.slow
def test_ten_thousand_connections_are_refused_in_order(start: Callable[..., Server]) -> None:
    """Each that is too many is answered 503 and closed at once; when there is room again, so is an answer."""
    server = start()
    refused = 0
    with held(server, connection.CONNECTIONS):
        for _ in range(100):
            with held(server, 100) as more:
                for client in more:
                    found = rest_of(client)
                    assert found.startswith(b"HTTP/1.1 503") and json.loads(found.partition(b"\r\n\r\n")[2])["error"]
                    refused += 1
    assert refused == 10_000
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            is_well(server)
            return
        except (httpx.HTTPError, KeyError):
            time.sleep(0.05)
    is_well(server)


def test_requests_beyond_the_limit_are_told_to_come_again(served: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "REQUESTS", 3)
    half = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with held(served, 3) as clients:
        for client in clients:
            client.sendall(half)
        end = time.monotonic() + 20
        while httpx.get(served.address + "icon.svg").status_code != 503:
            assert time.monotonic() < end
        found = httpx.get(served.address + "icon.svg")
        assert "ask again" in found.json()["error"]
    end = time.monotonic() + 20
    while httpx.get(served.address + "icon.svg").status_code != 200:
        assert time.monotonic() < end


def test_bodies_of_all_requests_together_are_bounded(
    start: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODIES_BYTES", 10**6)
    server, size = start(), 600_000
    head = b"POST /api/photos HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (size + 1)
    with held(server, 1) as (first,):
        first.sendall(head + bytes(size))
        end = time.monotonic() + 20
        while httpx.post(server.address + "api/photos", content=bytes(size)).status_code != 503:
            assert time.monotonic() < end
        is_well(server)
        first.sendall(b"x")
        assert first.recv(20).startswith(b"HTTP/1.1 400")
    assert httpx.post(server.address + "api/photos", content=bytes(size)).status_code == 400  # there is room again


def test_a_request_that_computes_does_not_keep_others_waiting(
    served: Server, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    answers = Classifier.answers

    def slow(*arguments: Any) -> list[Prediction]:
        begun.set()
        go_on.wait(20)
        return answers(*arguments)

    monkeypatch.setattr("catdog.predict.Classifier.answers", slow)
    found = []
    ask = lambda: found.append(httpx.post(served.address + "api/predict", content=photo.read_bytes(), timeout=30))  # noqa: E731
    waiting = threading.Thread(target=ask)
    waiting.start()
    assert begun.wait(20)
    is_well(served)
    assert not found
    go_on.set()
    waiting.join()
    assert found[0].status_code == 200


def test_a_defect_is_printed_and_answered_with_a_sentence(
    served: Server, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr("catdog.predict.Classifier.answers", fail)
        found = httpx.post(served.address + "api/predict", content=photo.read_bytes())
    assert found.status_code == 500 and "where catdog serve runs" in found.json()["error"]
    assert "ZeroDivisionError" not in found.text and "ZeroDivisionError: a defect" in capsys.readouterr().err
    assert found.headers["x-content-type-options"] == "nosniff"
    is_well(served)
