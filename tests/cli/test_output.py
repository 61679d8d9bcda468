"""Standard output and error that are full, closed, or of an encoding that lacks letters, in processes of their own."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import quiet

from catdog.cli.predict import _columns
from catdog.config.settings import Config
from catdog.train import train

needs_dev_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
MakePhotos = Callable[..., Path]
TRAIN = "train --data photos --hidden 8 --epochs 1 --threads 1"
VERBS = ["--help", "predict --run cats-dogs photos --json", "data check photos"]
SLOW_VERBS = [
    "--version",
    "train --help",
    "completion bash",
    "predict --run cats-dogs photos",
    "predict --run cats-dogs photos --csv",
    "data stats photos --json",
    "data sample drawings --count 2",
    "cache",
    "evaluate --run cats-dogs --data photos",
    "evaluate --run cats-dogs --data photos --json",
    "explain --textbook",
    TRAIN,
]
all_verbs = pytest.mark.parametrize("verb", [*VERBS, *(pytest.param(v, marks=pytest.mark.slow) for v in SLOW_VERBS)])


def catdog(arguments: str, redirected: str = "", **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """`catdog ARGUMENTS` with blocks of output buffered as for a user, and `redirected` by a shell."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONUNBUFFERED", "PYTHONUTF8")}
    command = f'"{sys.executable}" -m catdog {arguments} {redirected}'
    return subprocess.run(["sh", "-c", command], capture_output=True, env={**kept, **environment}, timeout=300)


@pytest.fixture
def photos(make_photos: MakePhotos, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = make_photos({"cat": 12, "dog": 12})
    monkeypatch.chdir(folder.parent)
    return folder


@needs_dev_full
@all_verbs
def test_output_that_cannot_be_written_is_one_sentence_and_status_2(verb: str, photos: Path) -> None:
    done = catdog(verb, "> /dev/full")
    assert done.returncode == 2
    said = done.stderr.decode()
    assert said.splitlines()[-1].startswith("catdog: cannot write to standard output: No space left on device")
    assert "Traceback" not in said and "Exception ignored" not in said


@pytest.mark.slow
def test_output_that_ends_in_the_middle_is_noticed_however_it_is_buffered(photos: Path) -> None:
    for unbuffered in ("", "1"):
        limited = "ulimit -f 1; trap '' XFSZ; "  # a file of 512 bytes, of the 24 lines
        kept = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        command = f'{limited} "{sys.executable}" -m catdog predict --run cats-dogs photos --csv > answers.csv'
        done = subprocess.run(["sh", "-c", command], capture_output=True, env=kept)
        assert done.returncode == 2
        assert b"cannot write to standard output: File too large" in done.stderr
        assert 0 < Path("answers.csv").stat().st_size <= 1024


def test_a_reader_that_has_seen_enough_is_no_mistake(photos: Path) -> None:
    done = catdog("predict --run cats-dogs photos", "| head -1")
    assert done.stdout.count(b"\n") == 1
    assert b"catdog: cannot" not in done.stderr and b"Traceback" not in done.stderr


@all_verbs
def test_without_standard_error_standard_output_is_the_same(verb: str, photos: Path) -> None:
    done = catdog(verb, "2>&-")
    assert done.returncode in (0, 1)
    assert b"validation photos right;" not in done.stdout, "the banner belongs on standard error"
    if "--json" in verb:
        assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines())


@needs_dev_full
def test_notes_that_cannot_be_written_stop_nothing(photos: Path) -> None:
    done = catdog("predict --run cats-dogs photos", "2>/dev/full")
    assert (done.returncode, done.stdout.count(b"\n")) == (0, 24)


@all_verbs
def test_closed_streams_are_no_mistake(verb: str, photos: Path) -> None:
    done = catdog(verb, "<&- >&-")
    assert done.returncode in (0, 1)
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_a_classifier_works_without_standard_error(photos: Path) -> None:
    """With many photos it starts processes, which need a standard error of their own."""
    code = (
        "from catdog.predict import Classifier\n"
        "many = [(str(i), 'photos/cat/cat-000.png') for i in range(150)]\n"
        "print(len({a.label for _, a in Classifier.load('cats-dogs').predict_all(many, threads=2)}))"
    )
    command = f'"{sys.executable}" -c "{code}" 2>&-'
    assert subprocess.run(["sh", "-c", command], capture_output=True).stdout == b"1\n"


@needs_dev_full
@pytest.mark.parametrize(("redirected", "status"), [("> /dev/full", 2), ("| true", 0)])
def test_a_training_does_not_end_for_what_it_prints(redirected: str, status: int, photos: Path) -> None:
    """PYTHONUNBUFFERED: each line meets the disk or the reader at once."""
    done = catdog(f"{TRAIN} --out run", redirected, PYTHONUNBUFFERED="1")
    assert done.returncode == status
    assert (b"catdog: cannot write to standard output: No space left on device" in done.stderr) == (status == 2)
    assert b"Traceback" not in done.stderr
    lines = Path("run/train.log").read_text().splitlines()
    assert lines[0].startswith("photos  ") and lines[-1].startswith("the network is run/model.safetensors")


NAMES = [
    "Error",
    "Label",
    "-",
    "error",
    "label",
    "path",
    "猫",
    "😀",
    "=1+1",
    "-5",
    "it's",
    'a,"b',
    "new\nline",
    "return\rx",
    "caf\udce9",
]


@pytest.fixture
def odd(make_photos: MakePhotos, small_config: Callable[..., Config], monkeypatch: Any, no_curves: None) -> Path:
    """A run whose classes have such names, in run/, beside photos/ of names like them."""
    folder = make_photos(dict.fromkeys(NAMES, 3))
    train(small_config(folder, epochs=1, batch_norm=False), log=quiet)
    monkeypatch.chdir(folder.parent)
    return folder


def shown(name: str) -> str:
    """The name as no spreadsheet computes it."""
    return f"'{name}" if name[0] in "=-" else name


def rows_of(output: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(output, newline="")))


def test_csv_keeps_odd_names_apart_and_gives_a_spreadsheet_no_formula(odd: Path) -> None:
    done = catdog("predict --run run --csv photos", PYTHONIOENCODING="utf-8")
    (header, *rows) = rows_of(done.stdout.decode("utf-8", "surrogateescape"))
    classes = sorted(NAMES)
    columns = [f"probability of {shown(name)}" for name in classes]
    assert header == ["path", "label", "probability", *columns, "familiarity", "error"]
    assert len(rows) == 3 * len(NAMES)
    for path, label, probability, *each, _familiarity, error in rows:
        assert os.path.exists(path)
        assert error == ""
        best = classes[max(range(len(classes)), key=lambda i: float(each[i]))]
        assert label == shown(best)
        assert probability == max(each, key=float)


def test_csv_of_names_that_are_no_columns_has_them_as_columns(photos: Path) -> None:
    done = catdog("predict --run cats-dogs --csv photos/cat")
    assert done.stdout.splitlines()[0] == b"path,label,probability,cat,dog,familiarity,error"


def test_names_that_differ_from_another_column_in_case_alone_are_kept_apart() -> None:
    assert _columns(["Error", "cat"]) == ["probability of Error", "probability of cat"]
    assert _columns(["Familiarity", "cat"]) == ["probability of Familiarity", "probability of cat"]
    assert _columns(["cat", "LABEL"]) == ["probability of cat", "probability of LABEL"]
    assert _columns(["-", "+1"]) == ["probability of '-", "probability of '+1"]
    assert _columns(["Cat", "dog"]) == ["Cat", "dog"]


def test_a_path_that_a_spreadsheet_would_compute_names_the_same_file(photos: Path) -> None:
    names = ["=1+1.png", "+1.png", "@home.png", "-1.png", "plain.png"]
    for name in names:
        Path(name).write_bytes((photos / "cat" / "cat-000.png").read_bytes())
    done = catdog("predict --run cats-dogs --csv -- " + " ".join(names))
    paths = [row[0] for row in rows_of(done.stdout.decode())[1:]]
    assert paths == ["./=1+1.png", "./+1.png", "./@home.png", "./-1.png", "plain.png"]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "gbk", "utf-16"])
def test_an_encoding_that_lacks_letters_loses_nothing(encoding: str, odd: Path) -> None:
    as_utf8 = catdog("predict --run run photos --csv", PYTHONIOENCODING="utf-8").stdout
    done = catdog("predict --run run photos --csv", PYTHONIOENCODING=encoding)
    assert done.stdout == b"\xef\xbb\xbf" + as_utf8, "UTF-8, with the mark by which a spreadsheet knows it"
    for verb in ("predict --run run photos --json", "data stats photos --json"):
        lines = [catdog(verb, PYTHONIOENCODING=name).stdout.decode(name).splitlines() for name in ("utf-8", encoding)]
        assert [json.loads(line) for line in lines[0]] == [json.loads(line) for line in lines[1]]
        assert any("猫" in line for line in lines[0])
        assert all(r"\u732b" in line for line in lines[1] if encoding in ("ascii", "latin-1") and '"猫"' in line)
    for verb in ("predict --run run photos", "data check photos", "data stats photos"):
        done = catdog(verb, PYTHONIOENCODING=encoding)
        assert done.returncode in (0, 1)
        assert b"Traceback" not in done.stderr
        assert (b"\\u732b" in done.stdout) == (encoding in ("ascii", "latin-1", "cp1252"))


@pytest.mark.slow
def test_evaluate_in_an_encoding_that_lacks_letters(odd: Path) -> None:
    found = [
        catdog("evaluate --run run --json", PYTHONIOENCODING=encoding, PYTHONUTF8="0", LC_ALL="C.UTF-8")
        for encoding in ("utf-8", "ascii")
    ]
    assert [json.loads(one.stdout)["classes"] for one in found] == [sorted(NAMES)] * 2
    text = catdog("evaluate --run run", PYTHONIOENCODING="ascii")
    assert text.returncode == 0
    assert b"\\u732b" in text.stdout and b"Traceback" not in text.stderr
