"""What `catdog explain` writes: pictures, a page that stands alone, and the order of a command's answers."""

import base64
import html
import io
import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import quiet, save_photo
from pages import Page
from PIL import Image
from test_explain import random_run

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.predict import Classifier
from catdog.tools.explain import command, explanation, graph
from catdog.tools.explain.explanation import explain
from catdog.tools.explain.picture import QUICK, block_sums, cut_out, poster
from catdog.tools.explain.summary import summary
from catdog.tools.explain.words import sections
from catdog.train import train


@pytest.fixture
def photo(tmp_path: Path) -> str:
    save_photo(tmp_path / "dog" / "rex.png", 5)
    return str(tmp_path / "dog" / "rex.png")


@pytest.mark.slow
def test_explains_a_photo_in_words_a_picture_and_a_page(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = random_run(tmp_path / "run")
    assert main(["explain", "--run", str(run), "--full", photo]) == 0
    printed = capsys.readouterr().out
    classifier = Classifier.load(run)
    answer = classifier.predict(photo)
    assert printed.startswith(f"{answer.label} {answer.probability:.1%}  rex.png\n\n1. ")
    told = sections(explain(classifier, photo, photo))
    for section in told:
        assert "\n   ".join(section.lines) in printed
    folder = run / "explain"
    assert sorted(path.name for path in folder.iterdir()) == ["rex.html", "rex.png", "rex.svg"]
    with Image.open(folder / "rex.png") as picture:
        assert min(picture.size) > 1000
    assert ET.parse(folder / "rex.svg").getroot().tag.endswith("svg")

    text = (folder / "rex.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    assert not page.tags & {"script", "link", "iframe"}
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "url(" not in text
    assert "@import" not in text
    pictures = [link for link in page.links if link.startswith("data:")]
    assert len(pictures) == 6
    for link in pictures:
        Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))).verify()
    for section in told:
        assert html.escape("\n".join(section.lines)) in text

    assert main(["explain", "--run", str(run), "--full", "--out", str(tmp_path / "again"), photo]) == 0
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5, 6, 5, 6, 5, 6, 5)])
@pytest.mark.slow
def test_networks_of_any_depth_and_number_of_classes_are_drawn(
    tmp_path: Path, photo: str, hidden: tuple[int, ...]
) -> None:
    classes = ("cat", "dog", "fox", "cow")
    run = random_run(tmp_path / "run", hidden=hidden, classes=classes, loss="svm", image_size=(1, 2))
    figure, panels = poster(explain(Classifier.load(run), photo, photo))
    cut = cut_out(graph.render(figure), panels)
    assert set(cut) == {"photo", "forward", "backward", "chain", "step", "pixels"}
    assert main(["explain", "--run", str(run)]) == 0


@pytest.mark.slow
def test_several_photos_and_a_broken_one(tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = random_run(tmp_path / "run", hidden=(6,)), tmp_path / "out"
    save_photo(tmp_path / "cat" / "rex.png", 6)
    (tmp_path / "cat" / "no.png").write_bytes(b"no")
    inputs = [photo, str(tmp_path / "cat" / "no.png"), str(tmp_path / "cat" / "rex.png")]
    assert main(["explain", "--run", str(run), "--out", str(out), *inputs]) == 1
    printed = capsys.readouterr()
    assert "no.png" in printed.err
    assert printed.out.count("1. input") == 2
    assert "true class is dog" in printed.out
    assert "true class is cat" in printed.out
    names = {path.name for path in out.iterdir()}
    assert names == {"rex.html", "rex-2.html", "activations.png", "activations.svg"}


@pytest.mark.slow
def test_names_that_meet_are_numbered_until_one_is_free(tmp_path: Path) -> None:
    photos = [tmp_path / name for name in ("x/a.png", "y/a.png", "z/a-2.png")]
    for seed, path in enumerate(photos):
        save_photo(path, seed)
    out = tmp_path / "out"
    assert main(["explain", "--run", str(random_run(tmp_path / "run")), "--out", str(out), *map(str, photos)]) == 0
    assert {path.name for path in out.glob("*.html")} == {"a.html", "a-2.html", "a-2-2.html"}


@pytest.mark.slow
def test_a_picture_of_the_users_own_is_never_replaced(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(random_run(tmp_path / "run", hidden=(6,))), tmp_path / "out"
    names = [Path(photo).name, "activations.png", "templates.png"]
    for name in names:
        save_photo(out / name, 7)
    names.append(f"{Path(photo).stem}-2.html")
    (out / names[-1]).write_text("my notes")
    before = {name: (out / name).read_bytes() for name in names}
    for _ in range(2):
        assert main(["explain", "--run", run, "--full", "--out", str(out), photo]) == 0
    assert {path.stem for path in out.glob("*.svg")} == {f"{Path(photo).stem}-3"}
    for arguments, refused in (([photo, photo], "activations.png"), ([], "templates.png")):
        assert main(["explain", "--run", run, "--out", str(out), *arguments]) == 2
        assert f"{refused} is there, and catdog did not write it; give another --out." in capsys.readouterr().err
    assert main(["explain", "--run", run, "--full", "--out", str(Path(photo).parent), photo]) == 2
    assert f"holds the photo {photo}, beside which nothing is written" in capsys.readouterr().err
    assert {name: (out / name).read_bytes() for name in names} == before


@pytest.mark.slow
def test_the_short_answer_checks_no_gradients_and_its_page_opens(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanation, "_check_gradients", None)
    run, out = random_run(tmp_path / "run", hidden=(6,)), tmp_path / "my out"
    (run / "config.toml").write_text("[training]\nlearning_rate = 0.02\n")
    assert main(["explain", "--run", str(run), "--out", str(out), photo]) == 0
    printed = capsys.readouterr()
    classifier = Classifier.load(run)
    e = explain(classifier, photo, photo, checks=False, training_rate=0.02)
    assert e.rate_reason.endswith("for this photo so that the loss falls by about a tenth; training's was 0.02")
    assert printed.out.startswith(summary(e))
    assert f"open this file in a browser: {(out / 'rex.html').as_uri()}\n" in printed.err
    text = (out / "rex.html").read_text(encoding="utf-8")
    for section in sections(e):
        assert html.escape("\n".join(section.lines)) in text
    assert f"The network is {run}/model.safetensors. How often it is right is not noted" in text
    assert "with --full" in text
    assert len([link for link in Page(text).links if link.startswith("data:")]) == len(QUICK)


def test_the_model_tells_whether_hinges_are_squared(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_write", lambda e, stem, full, about: [stem])
    losses = []
    for squared in (False, True):
        run = random_run(tmp_path / "run", loss="svm", squared_hinge=squared)
        assert main(["explain", "--run", str(run), "--label", "cat", photo]) == 0
        losses.append(float(re.findall(r": ([\d.]+)\.\s+7\. gradient", capsys.readouterr().out)[0]))
    assert losses[0] != 1
    assert losses[1] == pytest.approx(losses[0] ** 2, rel=1e-3)  # one other class, so one hinge


@pytest.mark.usefixtures("no_curves")
@pytest.mark.parametrize("squared", [False, True])
def test_a_training_notes_in_its_model_whether_hinges_are_squared(
    make_photos: Callable[..., Path], small_config: Callable[..., Config], squared: bool
) -> None:
    photos = make_photos({"cat": 6, "dog": 6})
    run = train(small_config(photos, loss="svm", squared_hinge=squared, epochs=1), log=quiet)
    assert Classifier.load(run).card.squared_hinge is squared


def test_without_a_photo_it_shows_what_the_network_has_learned(tmp_path: Path) -> None:
    run = random_run(tmp_path / "run")
    assert main(["explain", "--run", str(run)]) == 0
    names = {path.name for path in (run / "explain").iterdir()}
    assert names == {"neurons.png", "templates.png", "network.html"}
    page = Page((run / "explain" / "network.html").read_text(encoding="utf-8"))
    assert len([link for link in page.links if link.startswith("data:")]) == 2


@pytest.mark.slow
def test_needs_no_torch_and_a_name_with_odd_characters_does_not_break_the_page(tmp_path: Path) -> None:
    run, name = random_run(tmp_path / "run", hidden=(6,)), "<b>&\n\udcff.png"
    save_photo(tmp_path / "plain.png", 1)
    (tmp_path / "plain.png").rename(tmp_path / name)
    code = (
        "import sys; from catdog.cli.main import main; status = main(sys.argv[1:]);"
        "print({'torch', 'torchvision'} & set(sys.modules), status)"
    )
    command = [sys.executable, "-c", code, "explain", "--run", str(run), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == b"set() 0"
    (found,) = (run / "explain").glob("*.html")
    text = found.read_bytes().decode("utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;" in text


def test_block_sums_keep_the_total() -> None:
    pixels = np.random.default_rng(0).normal(size=(13, 4))
    sums, down, across = block_sums(pixels)
    assert sums.shape == (6, 4)
    assert sums.sum() == pytest.approx(pixels.sum())
    assert (down.sum(), across.sum()) == (13, 4)
    assert sums[0, 0] == pytest.approx(pixels[: down[0], : across[0]].sum())


def test_says_what_is_wrong_in_a_sentence(tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = random_run(tmp_path / "run")
    for arguments, words in (
        (["--label", "cow", photo], "--label cow"),
        (["--lr", "-1", photo], "--lr"),
        (["--lr", "nan", photo], "--lr"),
        (["--out", photo, photo], "--out"),
        (["--textbook", photo], "leave a photo out"),
    ):
        assert (
            main(
                ["explain", "--run", str(run), *arguments] if "--textbook" not in arguments else ["explain", *arguments]
            )
            == 2
        )
        said = capsys.readouterr().err
        assert words in said
        assert re.match(r"catdog: .*\.$", said.splitlines()[-1])


@pytest.mark.parametrize("hidden", [(), (64, 32), (64,) * 7])
@pytest.mark.slow
def test_no_two_labels_of_the_chain_overlap(tmp_path: Path, photo: str, hidden: tuple[int, ...]) -> None:
    run = random_run(tmp_path / "run", hidden=hidden, classes=("cat", "dog", "fox", "cow"), image_size=(32, 32))
    figure, panels = poster(explain(Classifier.load(run), photo, photo, "cat"))
    graph.render(figure)
    (axes,) = panels["chain"].axes
    labels = [text for text in axes.texts if text.get_text() and text.get_transform() == axes.transData]
    corners = [text_corners(text) for text in labels]
    assert len(corners) > 20
    pairs = [(i, j) for i in range(len(corners)) for j in range(i) if not are_apart(corners[i], corners[j])]
    assert not [(labels[i].get_text(), labels[j].get_text()) for i, j in pairs]


@pytest.mark.slow
def test_scores_and_titles_of_many_long_names_overlap_nothing(tmp_path: Path, photo: str) -> None:
    classes = tuple(f"Staffordshire bull terrier of kind {i}" for i in range(10, 24))
    run = random_run(tmp_path / "run", hidden=(6,), classes=classes)
    figure, panels = poster(explain(Classifier.load(run), photo, photo, checks=False), QUICK)
    graph.render(figure)
    (scores,) = (axes for axes in panels["forward"].axes if axes.get_title().startswith("logits"))
    boxes = [text.get_window_extent() for text in scores.texts]
    assert len(boxes) == 8 and all(box.x0 >= scores.bbox.x1 for box in boxes)
    assert all(upper.y0 >= lower.y1 for upper, lower in itertools.pairwise(boxes))
    titles = [axes.title.get_window_extent() for axes in panels["pixels"].axes]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(titles))


def text_corners(text: Any) -> np.ndarray:
    """Corners, 4 x 2, of a text that is turned about the middle of its lower or upper edge, in pixels."""
    angle, (x, y) = np.radians(text.get_rotation()), text.get_transform().transform(text.get_position())
    text.set_rotation(0)
    text.set_rotation_mode("default")
    box = text.get_window_extent()
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]]) - (x, y)) @ turn + (x, y)


def are_apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether an edge of one of two rectangles separates them (separating axis theorem)."""
    for edge in np.concatenate([np.diff(a[:3], axis=0), np.diff(b[:3], axis=0)]):
        if (a @ edge).max() <= (b @ edge).min() or (b @ edge).max() <= (a @ edge).min():
            return True
    return False


@pytest.mark.slow
def test_a_network_of_shared_residual_layers_is_explained_and_drawn(
    tmp_path: Path, photo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes: dict[str, Any] = {"shared": True, "blocks": (2, 2), "pool_all": True, "batch_norm": True}
    run = random_run(tmp_path / "run", image_size=(12, 9), local=(4, 5), hidden=(), **changes)
    assert main(["explain", "--run", str(run), "--full", photo]) == 0
    printed = capsys.readouterr().out
    assert "mean over the places: of each channel, over 6 of them" in printed
    assert "as a residual block ends" in printed
    assert main(["explain", "--run", str(run)]) == 0
    names = {path.name for path in (run / "explain").iterdir()}
    assert {"rex.html", "rex.png", "rex.svg", "fields.png", "templates.png", "network.html"} <= names
