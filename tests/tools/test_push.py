"""`catdog push`, by huggingface_hub itself, to a server on this machine that speaks what it needs of the Hub's API.

The command is a process of its own: huggingface_hub reads its environment when it is imported.
"""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import drawn_photos
import pytest
from conftest import quiet, without_curves
from huggingface_hub import ModelCard

from catdog.cli.main import main
from catdog.config.toml import load_config
from catdog.predict import Classifier
from catdog.tools import push
from catdog.train import train

pytestmark = pytest.mark.slow
TOKEN = "hf_token_of_a_test"
SECRET = "tom-in-the-garden"  # in the name of each photo


class Hub:
    """A Hub of the user "me". refuses: path -> the status that it is answered with."""

    def __init__(self) -> None:
        self.repositories: dict[str, bool] = {}  # whether it is private
        self.files: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}  # by the SHA-256
        self.asked: list[tuple[str, str]] = []
        self.refuses: dict[str, int] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((f"{self.command} {self.path}", self.headers.get("Authorization", "")))
                refused = next((status for part, status in outer.refuses.items() if part in self.path), 0)
                status, reply = (refused, {"error": "no"}) if refused else outer.reply(self, body)
                data = json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def reply(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        if request.path.startswith("/large/"):  # as of an address that was signed before: without a token
            self.large[request.path.removeprefix("/large/")] = body
            return 200, {}
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if request.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            if not name.startswith("me/"):
                return 403, {"error": "You don't have the rights to create a model under this namespace"}
            if name in self.repositories:
                return 409, {"error": "You already created this model repo", "url": f"{self.url}/{name}"}
            self.repositories[name] = asked.get("private", asked.get("visibility") == "private")
            self.files[name] = {}
            return 200, {"url": f"{self.url}/{name}"}
        if request.path == "/api/validate-yaml":
            ModelCard(json.loads(body)["content"], ignore_metadata_errors=False)
            return 200, {"errors": [], "warnings": []}
        found_name = re.match(r"(?:/api/models)?/(\w+/[\w-]+)", request.path)
        name = found_name[1] if found_name else ""
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}
        if "/preupload/" in request.path:
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        if request.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.url}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        if "/commit/" in request.path:
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[name][value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    content = self.large[value["oid"]]
                    assert hashlib.sha256(content).hexdigest() == value["oid"]
                    self.files[name][value["path"]] = content
            return 200, {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1" * 40}
        return 200, {"id": name, "private": self.repositories[name], "siblings": []}


@pytest.fixture
def hub() -> Iterator[Hub]:
    running = Hub()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that a run may hold; the photos have a name that must never be sent."""
    place = tmp_path_factory.mktemp("pushed")
    for label in ("cat", "dog"):
        for seed in range(10):
            drawn_photos.save(place / "photos" / label / f"{SECRET}-{seed}.jpg", label, seed)
    (place / "photos" / "cat" / f"{SECRET}-broken.jpg").write_bytes(b"no photo")
    fields = {"image_size": (12, 16), "hidden": (16,), "epochs": 2, "start_from": "none", "folds": 2, "device": "cpu"}
    fields |= {"data": str(place / "photos"), "out": str(place / "mine"), "cache": str(place / "kept")}
    with without_curves():
        found = train(load_config(None, fields), log=quiet)
    (found / "curves.png").write_bytes(b"\x89PNG curves")
    (found / "evaluation").mkdir()
    (found / "evaluation" / "index.html").write_text(SECRET)
    (found / "notes.txt").write_text(SECRET)
    return found


@pytest.fixture
def send(hub: Hub, tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """send(RUN, "me/mine", token=...) -> what came of it."""

    def push_it(*arguments: object, token: str = TOKEN, url: str = "") -> "subprocess.CompletedProcess[str]":
        environment = {"HF_ENDPOINT": url or hub.url, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "hf")}
        environment |= {"HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1"}
        command = [sys.executable, "-m", "catdog", "push", *map(str, arguments)]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=300)

    return push_it


def sentence(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line on standard error of a command that failed."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("catdog: ")
    return line


def test_what_arrives_is_the_network_and_nothing_about_photos(hub: Hub, send: Any, run: Path, tmp_path: Path) -> None:
    assert SECRET in (run / "answers.csv").read_text() and SECRET in (run / "skipped.csv").read_text()
    done = send(run, "me/mine", "--private")
    assert done.returncode == 0, done.stderr
    sent = hub.files["me/mine"]
    assert hub.repositories == {"me/mine": True}
    assert set(sent) == {"README.md", "model.safetensors", "config.toml", "metrics.csv", "weights.csv", "curves.png"}
    for name, content in sent.items():
        assert f"  {name}" in done.stdout
        if name != "config.toml":
            assert content == (run / name).read_bytes(), name
    everything = b"".join(sent.values())
    assert SECRET.encode() not in everything and str(run.parent).encode() not in everything
    assert done.stdout.splitlines()[0] == f"sends to {hub.url}/me/mine, which you alone can see:"

    for name, content in sent.items():  # and what arrives is a run
        (tmp_path / name).write_bytes(content)
    photo = drawn_photos.save(tmp_path / "photo.jpg", "cat", 77)
    assert Classifier.load(tmp_path).predict(photo) == Classifier.load(run).predict(photo)
    assert load_config(tmp_path / "config.toml").training == load_config(run / "config.toml").training


def test_a_run_without_a_card_gets_one_and_a_second_push_replaces_the_first(hub: Hub, send: Any, run: Path) -> None:
    text = (run / "README.md").read_text()
    (run / "README.md").unlink()
    assert send(run, "me/mine").returncode == 0
    assert (run / "README.md").read_text() == text == hub.files["me/mine"]["README.md"].decode()
    (run / "README.md").write_text(text + "\nMy own words.\n")
    assert send(run, "me/mine").returncode == 0
    assert hub.files["me/mine"]["README.md"].decode().endswith("My own words.\n")
    (run / "README.md").write_text(text)


def test_to_a_repository_that_everybody_sees_nothing_private_is_sent(hub: Hub, send: Any, run: Path) -> None:
    hub.repositories["me/mine"], hub.files["me/mine"] = False, {}
    assert "is there already, and everybody can see it" in sentence(send(run, "me/mine", "--private"))
    assert hub.files["me/mine"] == {}


@pytest.mark.parametrize(
    ("repository", "token", "refuses", "words"),
    [
        ("me/mine", "hf_of_nobody", {}, "the Hub does not know you: give a token"),
        ("you/yours", TOKEN, {}, "it belongs to somebody else, or your token may not write to it"),
        ("me/mine", TOKEN, {"/commit/": 403}, "it belongs to somebody else, or your token may not write to it"),
        ("me/mine", TOKEN, {"/repos/create": 500}, "the Hub has a problem of its own (HTTP 500): try again later"),
        ("me/mine", TOKEN, {"/commit/": 501}, "the Hub has a problem of its own (HTTP 501): try again later"),
        ("me/mine", TOKEN, {"/large/": 403}, "it belongs to somebody else, or your token may not write to it"),
        ("me/mine", TOKEN, {"/repos/create": 429}, "check the network"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    hub: Hub, send: Any, run: Path, repository: str, token: str, refuses: dict[str, int], words: str
) -> None:
    hub.refuses = refuses
    said = sentence(send(run, repository, token=token))
    assert said.startswith(f"catdog: cannot send to {hub.url}/{repository}: ") and words in said
    assert not hub.files.get(repository)


def test_a_hub_that_is_not_there_is_one_sentence(send: Any, run: Path) -> None:
    assert "check the network, and HF_ENDPOINT" in sentence(send(run, "me/mine", url="http://127.0.0.1:9"))


def test_nothing_is_asked_of_anybody_before_it_is_clear_what_to_send(
    hub: Hub, send: Any, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cats-dogs comes with catdog, so there is nothing to send" in sentence(send("cats-dogs", "me/mine"))
    assert "there is no run nowhere" in sentence(send("nowhere", "me/mine"))
    assert not hub.asked
    for repository in ("mine", "me/mine/too", "https://huggingface.co/me/mine"):
        assert main(["push", str(run), repository]) == 2
        assert "must be a user's name and the network's" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["push", str(run), "me/mine"]) == 2
    assert "catdog push needs huggingface_hub, the extra [hub] of catdog: pip install " in capsys.readouterr().err


def test_each_file_of_a_run_is_known_to_be_sent_or_to_stay(run: Path) -> None:
    """A new file of a run is looked at by whoever adds it: does it name photos, or places?"""
    stays = {
        "answers.csv",
        "skipped.csv",
        "train.log",
        "last.pt",
        "previous.pt",
        "tensorboard",
        "evaluation",
        "folds",
        "notes.txt",
    }
    assert {path.name for path in run.iterdir()} - stays == set(push.SENT)
