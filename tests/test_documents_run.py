"""The documents' commands and Python snippets are run, page by page, in the order in which they stand.

Each page has a folder of its own, with drawn photos under the names that the pages use. Where a command would take
minutes, flags after it make it small: what it does, reads and writes stays the same.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drawn_photos
import pytest
import torch
from processes import CONTEXT, PATCH

from catdog.cli.main import main
from catdog.config.settings import Photos
from catdog.data.drawn import write_sample
from catdog.data.splits import photo_folder
from catdog.tools.demo.command import SETTINGS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", ROOT / "catdog/trained/README.md"]
PAGES += sorted(path for path in (ROOT / "docs").glob("*.md") if "zh-CN" not in path.name)  # whose commands are these

LEFT_OUT = {  # what is not run, by how it begins, and why
    "python3 -m venv": "the tests are run in an environment of their own",
    ". .venv/bin/activate": "likewise",
    "pip install": "likewise, and it needs the network",
    "pytest": "these are the tests",
    "ruff": "run by .ci/run",
    "mypy": "run by .ci/run",
    "lint-imports": "run by .ci/run",
    "torchrun": "takes several GPUs or machines; tests/runtime/test_distributed.py trains by several processes",
    "python scripts/benchmark.py": "takes hours, and other frameworks; tests/scripts/test_benchmark.py tries its parts",
    "python scripts/scaling.py": "takes constants that take minutes; tests/scripts/test_scaling.py tries it",
    "catdog serve": "answers until it is stopped; tests/server starts it and asks",
    "curl": "asks that server",
    "catdog push": "sends; tests/tools/test_push.py has it send to a server of its own",
    "pip wheel": "tests/test_wheel.py builds one, and installs it",
    "catdog train --data s3://": "needs a store; tests/images/test_object_store.py has one",
    "catdog train --data https://": "needs a server; tests/images/test_store.py has one",
    "catdog predict s3://": "needs a store; tests/images/test_store.py has one",
    "catdog data fetch": "downloads; tests/tools/dataset/test_fetch.py does it from a server of its own",
    "catdog train --model resnet18 --pretrained": "downloads weights",
    "import mlflow": "an optional package; tests/trainer/test_tracking.py runs it where that is installed",
    "import wandb": "likewise",
    "docker": "needs its daemon; tests/test_containers.py does without",
    "catdog tune --resume runs/tune": "needs a study that was stopped; tests/tools/tune/test_tune.py stops one",
}
SMALLER: dict[str, list[str]] = {  # by how it begins: the flags that make it small
    "": [],
    "data sample": ["--count", "16"],
    "train --config article": ["--image-size", "60", "80", "--epochs", "1", "--threads", "1", "--folds", "1"],
    "train --resume": ["--epochs", "2"],
    "train": ["--epochs", "1", "--threads", "1", "--folds", "1"],
    "demo": ["--seeds", "1"],
    "tune": ["--trials", "2", "--epochs", "1"],
}
FOUND_SOMETHING = {"doctor": 1, "data check": 1}  # an exit status that is an answer, no failure

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|(?<=\n\n))(?:    .*\n(?:\n(?=    ))?)+")
_SHELL = re.compile(r"(catdog|python3?|pip|torchrun|ruff|docker) |#!")
_PYTHON = re.compile(r"(from|import) ")
_LISTS = re.compile(r"\w+/\w+/\*|data/\w+/|layer +computes")  # folders, tables


def blocks(page: str) -> Iterator[str]:
    """The blocks of commands and of Python on a page, in order. Fails for one of a kind that is not known."""
    found = [(match.start(), match[2]) for match in _FENCED.finditer(page) if match[1] == "sh"]
    prose = _FENCED.sub(lambda match: re.sub(r".", "-", match[0]), page)
    found += [
        (match.start(), re.sub(r"^    ", "", match[0], flags=re.MULTILINE)) for match in _INDENTED.finditer(prose)
    ]
    for _, block in sorted(found):
        assert _SHELL.match(block) or _PYTHON.match(block) or _LISTS.match(block), f"neither run nor left out:\n{block}"
        yield block


def commands(block: str) -> list[str]:
    """The commands of a block, without the comments behind them."""
    if block.startswith("#!"):  # a script
        return [block]
    lines = block.replace("\\\n", " ").splitlines()
    return [part.strip() for line in lines for part in re.split(r" +# ", line)[0].split(" && ") if part.strip()]


def run(command: str) -> str:
    """What a command writes. AssertionError where it fails; empty for one that is left out."""
    if is_left_out(command):
        return ""
    words = shlex.split(command)
    if words[:2] in (["python", "scripts/train.py"], ["python", "scripts/evaluate.py"]):
        words[:2] = ["catdog", Path(words[1]).stem]
    if words[:2] == ["python", "-c"]:
        return subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, text=True).stdout
    assert words[0] == "catdog", f"neither run nor left out: {command}"
    verb = " ".join(words[1:])
    smaller = SMALLER[max((beginning for beginning in SMALLER if verb.startswith(beginning)), key=len, default="")]
    status, output = in_a_process(_catdog, [*words[1:], *smaller])
    fine = {0} | {found for beginning, found in FOUND_SOMETHING.items() if verb.startswith(beginning)}
    assert status in fine, f"{command} ({' '.join(smaller)}): exit status {status}\n{output}"
    return output


def is_left_out(code: str) -> bool:
    return any(code.startswith(beginning) for beginning in LEFT_OUT)


def run_snippet(code: str) -> None:
    """Run Python as it stands. AssertionError where it raises."""
    status, output = in_a_process(_python, code)
    assert status == 0, f"{code}\n{output}"


def in_a_process(what: Callable[[Any], None], argument: Any) -> tuple[int, str]:
    """(exit status, what it wrote) of `what(argument)`, in a process of its own and in the current folder."""
    place = Path(f"output-{time.monotonic_ns()}")
    process = CONTEXT.Process(
        target=_start, args=(what, argument, str(place), os.getcwd(), os.environ["XDG_CACHE_HOME"])
    )
    process.start()
    process.join(300)
    process.kill()
    process.join()
    assert process.exitcode is not None
    output = place.read_text()
    place.unlink()
    return process.exitcode, output


def _start(what: Callable[[Any], None], argument: Any, place: str, folder: str, cache: str) -> None:
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = cache
    handle = os.open(place, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    torch.set_num_threads(1)
    PATCH.setattr(os, "fsync", lambda handle: None)  # takes longer than all else
    PATCH.setitem(SETTINGS, "epochs", 2)  # of the demos, which have no flag for it
    what(argument)


def _catdog(argv: list[str]) -> None:
    sys.exit(main(argv))


def _python(code: str) -> None:
    exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


def walk(page: str) -> Iterator[tuple[str, str]]:
    """Run all of a page in the current folder: (command, what it wrote), one after the other."""
    for block in blocks(page):
        if _PYTHON.match(block):
            if not is_left_out(block):
                run_snippet(block)
        elif block.startswith("data/cat/*"):  # what the reader does there
            drawn_photos.fill(Path("data"), 12, first=100)
        elif _SHELL.match(block):
            for command in commands(block):
                yield command, run(command)


@pytest.fixture(autouse=True)
def photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos under the names that the documents use, and a small drawn set."""
    for name in ("photos", "PHOTOS"):
        drawn_photos.fill(Path(name), 12)
    drawn_photos.save(Path("photo.jpg"), "cat", 5)
    with monkeypatch.context() as patch:
        patch.setattr(
            "catdog.data.drawn.write_sample", lambda folder, count, size, shared: write_sample(folder, 40, size)
        )
        photo_folder(Photos(data="sample"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_does_what_it_should_where_it_stands(page: Path) -> None:
    for _ in walk(page.read_text(encoding="utf-8")):
        pass


@pytest.mark.slow
def test_the_readme_can_be_followed_from_its_first_line_to_its_last() -> None:
    """The answer for the same photo stays after the training on drawings, and is the run's after one on photos."""
    if "CATDOG_PHOTOS" in os.environ:  # a real cat, for which the answer can be right
        photo = min((Path(os.environ["CATDOG_PHOTOS"]) / "val" / "cat").iterdir())
        Path("photo.jpg").write_bytes(photo.read_bytes())
    done = list(walk((ROOT / "README.md").read_text(encoding="utf-8")))
    answers = [output.splitlines() for command, output in done if command == "catdog predict photo.jpg"]
    first, at_once, own = answers  # each: which network answers, and its answer
    order = [command for command, _ in done]
    assert (
        order.index("catdog predict photo.jpg") < order.index("python scripts/train.py") < order.index("catdog train")
    )
    assert first[0].startswith("cats-dogs, which comes with catdog, trained on 16,000 photographs: ")
    assert at_once[0].startswith("cats-dogs, ") and "trained on drawings) instead, give: --run runs/" in at_once[0]
    assert first[1:] == at_once[1:] and re.fullmatch(r"((cat|dog) [\d.]+%|unfamiliar \(.*\))  photo\.jpg", first[1])
    if "CATDOG_PHOTOS" in os.environ:
        assert first[1].startswith("cat ")
    assert re.match(r"runs/\S+/model\.safetensors, trained on \d+ photos in data, starting from cats-dogs: ", own[0])
    evaluations = [output for command, output in done if command.startswith("catdog evaluate")]
    assert evaluations[0].startswith("cats-dogs, ") and evaluations[1].startswith("runs/")


@pytest.mark.parametrize(
    "page",
    [
        "    catdog predict nothing.jpg\n",
        "```sh\ncatdog data stats photos\ncatdog data stats nothing\n```\n",
        "    catdog data sample drawings && catdog data sample drawings\n",
        "    catdog data stats photos   # and\n\nthen\n\n    frobnicate photos\n",
        "    python scripts/unheard_of.py\n",
        "    from catdog.imagefolder import PhotoFolder\n\n    PhotoFolder(data)\n",
    ],
)
def test_a_page_that_cannot_be_followed_would_be_noticed(page: str) -> None:
    with pytest.raises(AssertionError):
        list(walk(page))


def test_nothing_is_left_out_or_made_smaller_that_is_not_there() -> None:
    found = [
        command for page in PAGES for block in blocks(page.read_text(encoding="utf-8")) for command in commands(block)
    ]
    for beginning in [*LEFT_OUT, *(f"catdog {verb}" for verb in (*SMALLER, *FOUND_SOMETHING))]:
        assert any(command.startswith(beginning) for command in found), beginning
