"""Predictions a second of a server, and how long the slowest hundredth takes, by so many clients at the same time.

The server is another process; each client sends a photo in a form, waits for the answer and sends the next.
"""

import argparse
import asyncio
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.lines import say

_WARM_UP = 1.0  # seconds that are not counted
_BOUNDARY = b"a-boundary-that-no-photo-holds"


def request(photo: bytes, path: str) -> bytes:
    body = b'--%s\r\nContent-Disposition: form-data; name="photo"; filename="photo.jpg"\r\n' % _BOUNDARY
    body += b"Content-Type: image/jpeg\r\n\r\n%s\r\n--%s--\r\n" % (photo, _BOUNDARY)
    head = b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % (path.encode(), len(body))
    return head + b"Content-Type: multipart/form-data; boundary=%s\r\n\r\n" % _BOUNDARY + body


async def client(port: int, data: bytes, until: float, taken: list[tuple[float, float]]) -> None:
    """Note when each answer came, and after how many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < until:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        now = time.perf_counter()
        taken.append((now, now - started))
    writer.close()


async def load(port: int, data: bytes, clients: int, seconds: float) -> tuple[float, float]:
    """(answers a second, the 99th percentile of their seconds)."""
    taken: list[tuple[float, float]] = []
    started = time.perf_counter()
    until = started + _WARM_UP + seconds
    await asyncio.gather(*(client(port, data, until, taken) for _ in range(clients)))
    counted = [took for at, took in taken if started + _WARM_UP <= at <= until]
    return len(counted) / seconds, statistics.quantiles(counted, n=100)[98]


def wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    while True:
        assert server.poll() is None, "the server has ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--path", default="/api/predict")
    parser.add_argument("server", nargs=argparse.REMAINDER, help="its command, without --port")
    args = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *args.server, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(port, server)
            rate, slowest = asyncio.run(
                load(port, request(args.photo.read_bytes(), args.path), args.clients, args.seconds)
            )
        finally:
            server.terminate()
    say(predictions_per_second=rate, p99_seconds=slowest)


if __name__ == "__main__":
    main()
