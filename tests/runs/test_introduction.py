"""Which network answers where none is named, never one of drawings for photos, and the line that says so."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import drawn_photos
import pytest
from conftest import quiet, save_photo
from test_explain import random_run

from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.drawn import are_drawn, write_sample
from catdog.data.listing import list_photos
from catdog.errors import CatdogError
from catdog.predict import Classifier
from catdog.runs.introduction import introduction
from catdog.runs.locate import TRAINED, find_model
from catdog.runs.trained_on import trained_on
from catdog.tools.doctor.command import _run_to_examine
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]


@pytest.fixture(autouse=True)
def _all_are_right_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catdog.runs.introduction.how_often_right", lambda card: "90% right")


def run_of(name: str, photos: str, seconds: int, data: str = "") -> Path:
    """A run in runs/ that was trained on `photos`, finished so many seconds after the first; data: of config.toml."""
    folder = random_run(Path("runs") / name, trained_on=photos)
    if data:
        (folder / "config.toml").write_text(f'[photos]\ndata = "{data}"\n')
    os.utime(folder / MODEL_FILE, (1_000_000 + seconds,) * 2)
    return folder / MODEL_FILE


def test_the_newest_run_on_photographs_answers() -> None:
    assert find_model(None) == TRAINED == find_model(None, drawings=True)
    first = run_of("first", "drawings", 0)
    assert (find_model(None), find_model(None, drawings=True)) == (TRAINED, first)
    mine = run_of("mine", "photos in drawings", 1)  # a folder of photographs may have that name
    newer, drawn = run_of("newer", "photos in base", 2), run_of("drawn", "drawings", 3)
    assert (find_model(None), find_model(None, drawings=True)) == (newer, drawn)
    shutil.rmtree(newer.parent)
    assert find_model(None) == mine
    assert find_model("first") == first and find_model(drawn) == drawn  # whoever names one gets it
    assert Classifier.load().card.trained_on == "photos in drawings"


def test_of_runs_from_before_the_header_said_so_the_configuration_does() -> None:
    photos = run_of("photos", "", 0, data="/home/me/pets")
    drawn = run_of("drawn", "", 1, data="sample")
    assert (trained_on(photos), trained_on(drawn)) == ("photos in pets", "drawings")
    assert find_model(None) == photos
    alone = run_of("alone", "", 2)  # nothing says it: it counts as before
    assert trained_on(alone) == "" and find_model(None) == alone


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0[1, 2] {}", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"])
def test_a_damaged_newest_run_is_told_and_not_passed_over(content: bytes) -> None:
    newest = run_of("newest", "drawings", 0)
    newest.write_bytes(content)
    with pytest.raises(CatdogError, match="runs/newest/model"):
        Classifier.load()


def test_what_is_drawn_is_known_by_its_files_wherever_they_lie(tmp_path: Path, make_photos: MakePhotos) -> None:
    write_sample(tmp_path / "drawn", 40, (16, 16))
    assert are_drawn(list_photos(tmp_path / "drawn"))
    moved = tmp_path / "moved"
    for path in (tmp_path / "drawn").rglob("*.jpg"):
        (moved / "train" / f"a {path.parent.name}").mkdir(parents=True, exist_ok=True)
        path.rename(moved / "train" / f"a {path.parent.name}" / path.name.upper())
    assert are_drawn(list_photos(moved / "train"))
    for count in (1, 8, 40):
        assert not are_drawn(list_photos(make_photos({"cat": count, "dog": count}, name=f"photos-{count}")))
    for path in make_photos({"a cat": 60, "a dog": 60}, name="others").rglob("*.png"):
        shutil.copy(path, moved / "train" / path.parent.name)  # three of four
    assert not are_drawn(list_photos(moved / "train"))


@pytest.mark.parametrize("among", [0, 50, 99])
def test_one_photograph_among_drawings_makes_them_photos(tmp_path: Path, among: int) -> None:
    write_sample(tmp_path / "mixed", 100, (16, 16))
    listing = list_photos(tmp_path / "mixed")
    save_photo(Path(listing.path(among)), 1)
    assert not are_drawn(listing)


def test_a_training_writes_down_what_it_was_trained_on(
    tmp_path: Path, make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    write_sample(tmp_path / "drawn", 12, (16, 16))
    for data, words in (
        (tmp_path / "drawn", "drawings"),
        (make_photos({"a": 6, "b": 6}, name="pets"), "photos in pets"),
    ):
        run = train(small_config(data, epochs=1, out=f"runs/{data.name}"), log=quiet)
        assert load_model(run / MODEL_FILE)[1].trained_on == words
        (run / "config.toml").unlink()
        assert trained_on(run / MODEL_FILE) == words


def line(run: str | None) -> str:
    model = find_model(run)
    found = introduction(model, Classifier.load(model).card)
    assert "\n" not in found
    return found


def flag(sentence: str) -> str:
    """What a shell makes of the flag at the end of the line."""
    words = shlex.split(sentence.partition(" give: ")[2])
    assert words[0] == "--run" and len(words) == 2
    return words[1]


def test_the_line_names_the_network_its_photos_and_how_to_ask_another() -> None:
    bundled = "cats-dogs, which comes with catdog, trained on 16,000 photographs: 90% right. "
    assert line(None) == bundled + "For a network of your own: catdog train --data FOLDER"
    run_of("a 'drawn' b", "drawings", 0)
    assert line(None).startswith(bundled + "To ask the newest run (it was trained on drawings) instead, give: --run ")
    assert find_model(flag(line(None))) == Path("runs/a 'drawn' b/model.safetensors")
    random_run(Path("runs/mine"), trained_on="photos in base", train_counts=(1200, 34))
    assert line(None).startswith("runs/mine/model.safetensors, trained on 1,234 photos in base: 90% right. ")
    assert find_model(flag(line(None))) == TRAINED
    random_run(Path("runs/newer"), trained_on="drawings")
    assert "90% right. The newest run, runs/newer, was trained on drawings. To ask " in line(None)
    assert find_model(flag(line(None))) == TRAINED
    assert "The newest run" not in line("newer")
    shutil.rmtree("runs/newer")
    assert line("cats-dogs").startswith(bundled + "To ask the newest run instead, give: ")
    assert find_model(flag(line("cats-dogs"))) == Path("runs/mine/model.safetensors")
    random_run(Path("runs/cats-dogs"))  # which takes the name away
    assert find_model(flag(line("mine"))) == TRAINED


def test_after_a_training_on_drawings_the_answers_for_photos_stay(
    tmp_path: Path, small_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(drawn_photos.save(tmp_path / "photo.jpg", "cat", 5))

    def answers() -> list[str]:
        found = []
        for form in ([], ["--json"], ["--csv"]):
            assert main(["predict", photo, *form]) == 0
            printed = capsys.readouterr()
            assert printed.err.startswith("cats-dogs, ") and printed.err.count("\n") == 1
            found.append(printed.out)
        return found

    before = answers()
    write_sample(tmp_path / "drawn", 12, (16, 16))
    lines: list[str] = []
    train(small_config(tmp_path / "drawn", epochs=1, out="runs/drawn"), log=lines.append)
    assert answers() == before
    # It has seen no photograph, so it is not on one that its training proposes to try it.
    assert "try: catdog evaluate --run runs/drawn" in lines[-1]
    assert main(["predict", photo, "--run", "runs/drawn"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("runs/drawn/model.safetensors, trained on ") and " drawings: " in printed.err
    assert printed.out != before[0]


def test_who_looks_at_a_run_takes_the_newest_of_all_and_who_is_given_photos_does_not(
    tmp_path: Path, make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    model = random_run(Path("runs/drawn"), trained_on="drawings", classes=("x", "y")) / MODEL_FILE
    photos = str(make_photos({"cat": 2, "dog": 2}))
    save_photo(tmp_path / "photo.png", 1)
    for command, words in {
        ("evaluate",): f"beside {model}, there is no config.toml",  # that would say what it was validated on
        ("evaluate", "--json", "--data", photos): "cats-dogs, which comes with catdog, ",
        ("explain", "--label", "none", str(tmp_path / "photo.png")): "it knows cat, dog",
        ("explain", "--label", "none"): "it knows x, y",  # what the network has learned
    }.items():
        main([*command])
        assert words in capsys.readouterr().err, command
    assert _run_to_examine(None, None, {}) == model
