import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_photos import fill, save, touch
from PIL import Image, ImageDraw, ImageOps

from catdog.cli.main import main
from catdog.data.drawn import draw
from catdog.data.splits import train_and_val
from catdog.errors import CatdogError
from catdog.images.decoder import decode
from catdog.tools.dataset.check import as_json, check_dataset


def found(folder: Path) -> dict[str, list[Any]]:
    """What of each finding `catdog data check` lists: a path, paths that show the same, or (path, reason)."""

    def in_short(item: dict[str, Any]) -> Any:
        return tuple(item["paths"]) if "paths" in item else item["path"]

    findings = as_json(check_dataset(folder))["findings"]
    return {finding["kind"]: [in_short(i) for i in finding["items"]] for finding in findings}


def test_a_good_folder_has_nothing_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (fill(tmp_path / "one"), fill(fill(tmp_path / "two" / "train").parent / "val", first=10).parent):
        assert found(folder) == {}
        assert main(["data", "check", str(folder)]) == 0
        printed = capsys.readouterr().out
        assert "80 x 60 pixels, all of them" in printed
        assert printed.endswith("\nnothing to mend\n")


def test_copies_are_told_apart_by_where_they_are(tmp_path: Path) -> None:
    train, val = fill(tmp_path / "train"), fill(tmp_path / "val", first=10)
    picture = Image.open(train / "cat/cat.0.jpg")
    picture.resize((48, 36)).save(train / "cat/small.png")
    ImageOps.mirror(picture).save(val / "cat/turned.webp")
    (train / "cat/dog.1.jpg").write_bytes((train / "dog/dog.1.jpg").read_bytes())
    (train / "dog/again.jpg").write_bytes((train / "dog/dog.2.jpg").read_bytes())
    report = as_json(check_dataset(tmp_path))
    findings = {finding["kind"]: finding["items"] for finding in report["findings"]}
    assert findings == {
        "copies_across_classes": [
            {"paths": ["train/cat/dog.1.jpg", "train/dog/dog.1.jpg"], "mirrored": [False] * 2, "same_bytes": True}
        ],
        "copies_across_splits": [
            {
                "paths": ["train/cat/cat.0.jpg", "train/cat/small.png", "val/cat/turned.webp"],
                "mirrored": [False, False, True],
                "same_bytes": False,
            }
        ],
        "copies_within_class": [
            {"paths": ["train/dog/again.jpg", "train/dog/dog.2.jpg"], "mirrored": [False] * 2, "same_bytes": True}
        ],
    }


def test_every_kind_of_bad_file_is_listed_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    cat = tmp_path / "cat"
    (cat / "cut.jpg").write_bytes((cat / "cat.0.jpg").read_bytes()[:700])
    (cat / "empty.jpg").touch()
    (cat / "page.jpg").write_text("<!DOCTYPE html><html></html>")
    (cat / "gone.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(cat / "pipe.jpg")
    (cat / "folder.jpg").mkdir()
    assert main(["data", "check", str(tmp_path), "--json"]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    (finding,) = report["findings"]
    assert finding["kind"] == "unreadable"
    reasons = {item["path"]: item["reason"] for item in finding["items"]}
    assert set(reasons) == {"cat/cut.jpg", "cat/empty.jpg", "cat/gone.jpg", "cat/page.jpg", "cat/pipe.jpg"}
    for name, reason in (("cut", "cut off"), ("empty", "empty"), ("page", "web page"), ("gone", "link to nothing")):
        assert reason in reasons[f"cat/{name}.jpg"]
    assert not any(str(tmp_path) in reason for reason in reasons.values())
    assert report["photos"] == 11
    assert report["counts"] == {"": {"cat": 8, "dog": 3}}


def test_blank_grey_and_small_photos(tmp_path: Path) -> None:
    fill(tmp_path)
    noise = np.random.default_rng(0).normal(0, 3, (300, 300, 3))
    Image.fromarray(np.clip(20 + noise, 0, 255).astype(np.uint8)).save(tmp_path / "cat" / "lens cap.jpg")
    Image.new("RGB", (50, 50), "white").save(tmp_path / "dog" / "white.png")
    draw("dog", 7, (60, 80)).convert("L").save(tmp_path / "dog" / "grey.jpg")
    save(tmp_path / "dog" / "icon.png", "dog", 8, (16, 80))
    report = as_json(check_dataset(tmp_path))
    assert found(tmp_path) == {"blank": ["cat/lens cap.jpg", "dog/white.png"], "very_small": ["dog/icon.png"]}
    assert report["greyscale"]["count"] == 3  # the blank two, too
    assert report["sizes"]["height"] == {"min": 16, "median": 60.0, "max": 300}
    assert report["sizes"]["width"] == {"min": 50, "median": 80.0, "max": 300}


def test_sizes_are_those_of_the_upright_photo(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for label, ending in (("cat", "jpg"), ("dog", "tif")):
        (tmp_path / label).mkdir()
        for seed in range(2):
            draw(label, seed, (60, 1000)).save(tmp_path / label / f"{seed}.{ending}", exif=exif)
            assert decode(tmp_path / label / f"{seed}.{ending}").shape == (1000, 60, 3)
    sizes = as_json(check_dataset(tmp_path))["sizes"]
    assert sizes == {side: {"min": v, "median": v, "max": v} for side, v in (("height", 1000), ("width", 60))}


def test_folders_that_train_would_stop_at_or_pass_over(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert list(found(nothing)) == ["too_few_classes"]

    one = tmp_path / "one"
    save(one / "cat" / "1.jpg", "cat", 1)
    assert found(one) == {"too_few_classes": [], "single_photo_classes": ["cat"]}

    empty = fill(tmp_path / "empty")
    (empty / "fox").mkdir()
    save(empty / "loose.jpg", "cat", 9)
    touch(empty, "readme.txt", "cat/Thumbs.db", "cat/.DS_Store", ".git/x.jpg", "__MACOSX/cat/._1.jpg")
    assert found(empty) == {
        "empty_classes": ["fox"],
        "outside_classes": ["loose.jpg"],
        "other_files": ["readme.txt"],
    }

    fill(tmp_path / "splits" / "train")
    fill(tmp_path / "splits" / "cow", first=10)
    touch(tmp_path / "splits", "notes/about.txt")
    save(tmp_path / "splits" / "valid" / "cow" / "1.jpg", "dog", 20)
    save(tmp_path / "splits" / "valid" / "cat" / "1.jpg", "cat", 20)
    save(tmp_path / "splits" / "valid" / "loose.jpg", "cat", 21)
    assert found(tmp_path / "splits") == {
        "unknown_classes": ["valid/cow"],
        "missing_classes": ["valid/dog"],
        "unused_folders": ["cow"],
        "outside_classes": ["valid/loose.jpg"],
    }

    fill(tmp_path / "no train" / "test")
    assert found(tmp_path / "no train") == {"no_train": []}


def test_names_of_classes_that_train_refuses_or_that_look_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, name in enumerate(("a\\b", "Cat", "cat", "cat ", "caf\u00e9", "cafe\u0301")):
        save(tmp_path / name / "1.jpg", "cat", 2 * seed)
        save(tmp_path / name / "2.jpg", "cat", 2 * seed + 1)
    assert found(tmp_path) == {"classes_alike": [], "class_names": []}
    assert main(["data", "check", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "- 'Cat' and 'cat' and 'cat ' look alike" in printed
    assert "- 'cafe\\u0301' and 'caf\u00e9' look alike" in printed
    assert "- 'a\\b' cannot be the name of a class: it holds a backslash; rename" in printed
    assert "\n'cat '  " in printed  # and in the table
    save(tmp_path / "Cat" / "copy.jpg", "cat", 2)
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "    'Cat/1.jpg' = 'Cat/copy.jpg'" in capsys.readouterr().out


def test_folders_around_all_classes_have_the_mend_that_train_names(tmp_path: Path) -> None:
    fill(tmp_path / "train" / "images")
    (finding,) = [one for one in check_dataset(tmp_path).findings if one.kind == "too_few_classes"]
    with pytest.raises(CatdogError) as refused:
        train_and_val(tmp_path, 0.2, 0)
    assert finding.message == str(refused.value)
    assert "if cat, dog are the classes, give" in finding.message


@pytest.mark.parametrize("verb", ["check", "stats"])
def test_folders_that_would_be_taken_for_classes_are_one_sentence(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fold1", "fold2"):
        fill(tmp_path / name)
    assert main(["data", verb, str(tmp_path)]) == 2
    assert "all hold the same folders (cat, dog), which look like the classes" in capsys.readouterr().err


def test_photos_with_another_name_are_found_by_content(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("cat/photo", "cat/photo.jpg_large", "dog/photo.jpg.1"):
        save(tmp_path / "new.jpg", name[:3], 30).rename(tmp_path / name)
    (tmp_path / "dog" / "notes.txt").write_text("jpg")
    os.mkfifo(tmp_path / "dog" / "pipe")
    (tmp_path / "dog" / "gone").symlink_to("nowhere")
    assert found(tmp_path) == {
        "photos_by_other_names": ["cat/photo", "cat/photo.jpg_large", "dog/photo.jpg.1"],
        "other_files": ["dog/gone", "dog/notes.txt", "dog/pipe"],
    }


def test_uneven_classes_are_worth_knowing_but_nothing_to_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, 2)
    for seed in range(2, 6):
        save(tmp_path / "dog" / f"{seed}.jpg", "dog", seed)
    assert main(["data", "check", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "3.0 times as many photos of dog as of cat; calling everything dog would be right 75% of the time" in printed


def test_what_is_on_the_sheet_agrees_with_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "fine", 2)
    assert main(["data", "check", str(tmp_path / "fine"), "--out", "sheet.png"]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("nothing to mend\n\nthere is no photo to show, and sheet.png says so\n")
    fill(tmp_path / "broken", 2)
    (tmp_path / "broken" / "cat" / "bad.jpg").write_bytes(b"no")
    assert main(["data", "check", str(tmp_path / "broken"), "--out", "sheet.png"]) == 1
    assert "nothing to mend" not in (printed := capsys.readouterr().out)
    assert "in question" not in printed
    ImageDraw.Draw(small := Image.new("RGB", (60, 20))).rectangle((0, 0, 30, 20), "white")
    small.save(tmp_path / "fine" / "cat" / "small.png")
    assert main(["data", "check", str(tmp_path / "fine"), "--out", "sheet.png"]) == 0
    printed = capsys.readouterr().out
    assert "nothing to mend" in printed
    assert "the photos worth knowing about are on sheet.png" in printed
    assert "in question" not in printed


def test_the_sheet_shows_the_suspects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fill(tmp_path / "photos")
    Image.new("RGB", (60, 80), (10, 200, 30)).save(folder / "cat" / "blank.png")
    (folder / "dog" / "again.jpg").write_bytes((folder / "dog" / "dog.1.jpg").read_bytes())
    assert main(["data", "check", str(folder), "--out", "sheet.png"]) == 1
    assert "the photos in question are on sheet.png" in capsys.readouterr().out
    sheet = decode("sheet.png").astype(int)
    green = (abs(sheet - (10, 200, 30)).max(axis=2) == 0).sum()
    assert green == 144 * 108  # fitted into 144 x 144
    shown = np.asarray(Image.fromarray(decode(folder / "dog" / "dog.1.jpg", (108, 144))), int)
    places = [
        (y, x)
        for y, x in zip(*np.nonzero((sheet == shown[0, 0]).all(axis=2)), strict=True)
        if (sheet[y : y + 108, x : x + 144].shape == shown.shape and (sheet[y : y + 108, x : x + 144] == shown).all())
    ]
    assert len(places) == 2


def test_a_photo_that_is_there_many_times_is_listed_in_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(tmp_path / "photos")
    for i in range(40):
        (folder / "cat" / f"copy {i:02}.jpg").write_bytes((folder / "cat" / "cat.0.jpg").read_bytes())
    assert main(["data", "check", str(folder), "--out", "sheet.png"]) == 1
    printed = capsys.readouterr().out
    assert "    cat/cat.0.jpg = cat/copy 00.jpg = " in printed
    assert "cat/copy 06.jpg = 33 more, the same bytes" in printed
    assert decode("sheet.png").shape[0] < 400


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["photos/cat/cat.0.jpg"], "is a file, not a folder"),
        (["photos", "--out", "sheet.pdf"], "--out sheet.pdf must end in .png"),
        (["photos", "--out", "nowhere/sheet.png"], "there is no folder nowhere for --out"),
        (["photos", "--out", "photos/cat/sheet.png"], "lies among the photos"),
        (["photos", "--outt", "x"], "did you mean --out"),
        ([], "DIR"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    fill(Path("photos"), 1)
    assert main(["data", "check", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_no_heavy_library_is_needed(make_photos: Callable[..., Path]) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from catdog.cli.main import main; main(['data', 'check', sys.argv[1]]); "
        "print({'torch', 'matplotlib'} & set(sys.modules))"
    )
    folder = make_photos({"cat": 2, "dog": 2})
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
