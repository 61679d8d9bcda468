"""What holds for every verb that looks at a folder of photos: odd names come through, and nothing there changes."""

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from drawn_photos import fill, save, touch

from catdog.cli.main import main

VERBS = ("check", "stats")


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """Odd names, hidden files and folders, links to folders, a loop, a copy, a broken photo, a folder named as one."""
    root = fill(tmp_path / "-photos of 日本\n")
    names = ["a b.jpg", "ünï–日本.jpg", "new\nline.jpg", "-rf.jpg", "x" * 240 + ".jpg", "UPPER.JPG", "deep/er/1.jpg"]
    for seed, name in enumerate(names):
        save(root / "cat" / name, "cat", 100 + seed)
    with open(os.fsencode(root / "cat") + b"/not \xff text.jpg", "wb") as file:
        file.write(save(tmp_path / "one.jpg", "cat", 150).read_bytes())
    touch(root, "cat/.hidden.jpg", "cat/._1.jpg", ".trash/cat/1.jpg", "dog/@eaDir/1.jpg", "dog/\x1b[2J.txt")
    save(tmp_path / "elsewhere" / "fox.jpg", "dog", 200)
    save(tmp_path / "elsewhere" / "owl.jpg", "cat", 201)
    (root / "fox").symlink_to(tmp_path / "elsewhere")
    (root / "fox" / "loop").symlink_to(root / "fox")
    (root / "dog" / "folder.jpg").mkdir()
    (root / "dog" / "broken\t.jpg").write_bytes(b"\xff\xd8\xff")
    (root / "dog" / "copy\n.jpg").write_bytes((root / "dog" / "dog.1.jpg").read_bytes())
    (root / "cat" / "a b.jpg").chmod(0o444)
    return root


COUNTS = {"cat": 11, "dog": 5, "fox": 2}


def test_check_lists_odd_names(odd_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir(odd_folder.parent)
    assert main(["data", "check", "--json", "--", odd_folder.name]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"": COUNTS}
    assert {f["kind"]: [i.get("path") or i["paths"] for i in f["items"]] for f in report["findings"]} == {
        "unreadable": ["dog/broken\t.jpg"],
        "copies_within_class": [["dog/copy\n.jpg", "dog/dog.1.jpg"]],
        "other_files": ["dog/\x1b[2J.txt"],
        "uneven": [],
    }
    assert main(["data", "check", "--", odd_folder.name]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"    dog/copy\n.jpg = dog/dog.1.jpg, the same bytes" in printed.splitlines()


def test_stats_counts_odd_names(odd_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.chdir(odd_folder.parent)
    assert main(["data", "stats", "--json", "--", odd_folder.name]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"": COUNTS}
    assert {name: one["photos"] for name, one in report["colours"][""]["classes"].items()} == {**COUNTS, "dog": 4}
    assert (report["photos"], report["unreadable"]) == (18, 1)


def state(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Name -> mode, time of the last change and content of everything in a folder, and of what links there lead to."""
    found = {}
    for here, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            path = os.path.join(here, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            found[path] = (status.st_mode, status.st_mtime_ns, content)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_the_photos_are_left_as_they_were(odd_folder: Path, tmp_path: Path, verb: str) -> None:
    inside, elsewhere = odd_folder / "sheet.png", tmp_path / "elsewhere"
    before = state(odd_folder), state(elsewhere)
    for flags in ([], ["--json"], ["--out", "sheet.png"]):
        assert main(["data", verb, *flags, "--", str(odd_folder)]) == (verb == "check")
    assert Path("sheet.png").stat().st_size
    for out in (inside, odd_folder / "cat" / "x.png", odd_folder / "dog" / ".." / "x.png"):
        assert main(["data", verb, "--out", str(out), "--", str(odd_folder)]) == 2
    assert (state(odd_folder), state(elsewhere)) == before
