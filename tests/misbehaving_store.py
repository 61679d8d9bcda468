"""A web server of files, with ranges, that can be made to drop, stall, cut off and refuse what it is asked for."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer:
    """Serves the files in `root` at `url`.

    manner: what is done with a request, given its number and the file's name: "serve" (the default), "drop" the
    connection, "stall", "drip" (a slow line: a little of the answer now and then, in `stall` seconds), "cut" the answer
    off in the middle, answer "500" or "403", "whole" (no ranges), or "other" bytes. requests: (name, first byte, last
    byte and one) of each request so far; encodings: which they accept.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.manner: Callable[[int, str], str] = lambda number, name: "serve"
        self.requests: list[tuple[str, int, int]] = []
        self.stall = 2.0
        self.encodings: set[str] = set()
        self.url = ""

    def asked_for_shards(self) -> list[tuple[str, int, int]]:
        return [request for request in self.requests if request[0].endswith(".tar")]


@contextmanager
def serving_files(root: Path) -> Iterator[FileServer]:
    """A FileServer of `root` on this machine."""
    files, lock = FileServer(root), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            path = files.root / self.path.strip("/")
            if not path.is_file():
                self.send_error(404)
                return
            length = path.stat().st_size
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            start, stop = (int(wanted[1]), int(wanted[2]) + 1) if wanted else (0, length)
            files.encodings.add(self.headers.get("Accept-Encoding", ""))
            with lock:
                manner = files.manner(len(files.requests), name)
                files.requests.append((name, start, stop))
            if manner == "whole":
                start, stop = 0, length
            with open(path, "rb") as file:
                file.seek(start)
                part = file.read(stop - start)
            if manner == "drop":
                self.close_connection = True
                return
            if manner == "stall":
                time.sleep(files.stall)
            if manner.isdigit():
                self.send_error(int(manner))
                return
            if manner == "other":
                part = bytes(byte ^ 1 for byte in part)
            self.send_response(206 if wanted and manner != "whole" else 200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if manner == "cut":
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
                return
            pieces = 8 if manner == "drip" else 1
            for piece in range(pieces):
                self.wfile.write(part[len(part) * piece // pieces : len(part) * (piece + 1) // pieces])
                time.sleep(files.stall / pieces if manner == "drip" else 0)

        def do_HEAD(self) -> None:
            self.send_error(405)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Whoever asked has gone; that is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    files.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield files
    finally:
        server.shutdown()
        server.server_close()
