"""The report of `catdog evaluate`: its baselines, diagrams, galleries, page and folder."""

import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import quiet
from pages import Page
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.neighbors import KNeighborsClassifier

from catdog.architecture import Architecture
from catdog.base.text import on_one_line
from catdog.checkpoint.model_card import ModelCard
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.listing import list_photos
from catdog.data.splits import train_and_val
from catdog.drawing.curves import curves_figure
from catdog.errors import CatdogError
from catdog.predict import Classifier
from catdog.tools.evaluation import baselines, diagrams, folder, gallery
from catdog.tools.evaluation.command import _table, _worst
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
HOSTILE = "<script>alert(1)"
FORMULA = "_$x^{$ &\n猫"


class ReportPage(Page):
    """Its galleries too: by the section's id, what is said of each photo and which file it is."""

    def __init__(self, text: str) -> None:
        self.captions: dict[str, list[tuple[str, str]]] = {}
        self._section = ""
        super().__init__(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attributes)
        if tag == "section":
            self._section = dict(attributes)["id"] or ""
        if tag == "figcaption":
            self.captions.setdefault(self._section, []).append(("", ""))

    def handle_data(self, data: str) -> None:
        if "figcaption" in self.open:
            said, path = self.captions[self._section][-1]
            now = (said, path + data) if "small" in self.open else (said + data, path)
            self.captions[self._section][-1] = now


@pytest.fixture
def run(make_photos: MakePhotos, small_config: MakeConfig) -> Path:
    """Trained on photos of two classes with hostile names, some of them under the wrong class."""
    photos = make_photos({HOSTILE: 40, FORMULA: 40})
    for i in range(0, 40, 3):
        (photos / HOSTILE / f"{HOSTILE}-{i:03}.png").rename(photos / FORMULA / f"<b>{i}.png")
    return train(small_config(photos, epochs=4, val_share=0.4, batch_norm=False), log=quiet)


def test_the_linear_classifier_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 9)).astype(np.float32)
    labels = (x[:, :3] + rng.normal(0, 1, (120, 3))).argmax(axis=1)
    for strength in (1.0, 0.01):
        weight, bias = baselines.fit_linear(x, labels, 3, strength)
        theirs = LogisticRegression(C=1 / (len(x) * strength), tol=1e-8, max_iter=1000).fit(x, labels)
        np.testing.assert_allclose(weight, theirs.coef_, atol=2e-3)
        np.testing.assert_allclose(bias - bias.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=2e-3)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_the_neighbours_are_scikit_learns(k: int) -> None:
    rng = np.random.default_rng(1)
    x, asked = rng.normal(size=(90, 5)).astype(np.float32), rng.normal(size=(300, 5)).astype(np.float32)
    labels = rng.integers(0, 3, 90)
    near = baselines.nearest_labels(x, labels, asked, k)
    theirs = KNeighborsClassifier(k, algorithm="brute").fit(x, labels)
    np.testing.assert_array_equal(baselines.majority_vote(near, 3), theirs.predict(asked))
    np.testing.assert_array_equal(near, labels[theirs.kneighbors(asked)[1]])


@pytest.mark.parametrize(("photos", "size", "side"), [(120, (4, 5), (1, 1)), (20, (32, 48), (2, 3))])
def test_baselines_see_the_normalised_pixels_of_large_photos_averaged(
    photos: int, size: tuple[int, int], side: tuple[int, int]
) -> None:
    """side: height and width of the blocks whose mean is taken."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], photos // 2)
    pixels = rng.integers(0, 256, (photos, 3, *size), dtype=np.uint8)
    pixels[: photos // 2, 2] //= 4  # what sets the classes apart
    asked = pixels + rng.integers(0, 3, pixels.shape, dtype=np.uint8)
    card = ModelCard(
        Architecture(size, (), "relu"),
        ("cat", "dog"),
        (100.0, 120.0, 90.0),
        (60.0, 9.0, 70.0),
        "bilinear",
        False,
        "softmax",
        1.0,
    )
    found = baselines.fit_and_predict(pixels, labels, asked, card)

    def flat(images: np.ndarray) -> np.ndarray:
        scaled = (images - np.array(card.mean)[:, None, None]) / np.array(card.std)[:, None, None]
        blocks = scaled.reshape(len(images), 3, size[0] // side[0], side[0], size[1] // side[1], side[1])
        return blocks.mean(axis=(3, 5)).reshape(len(images), -1)

    linear = LogisticRegression(C=1 / (photos * found.strength), tol=1e-8, max_iter=1000).fit(flat(pixels), labels)
    neighbours = KNeighborsClassifier(found.k, algorithm="brute").fit(flat(pixels), labels)
    np.testing.assert_array_equal(found.linear, linear.predict(flat(asked)))
    np.testing.assert_array_equal(found.neighbours, neighbours.predict(flat(asked)))
    assert (found.linear == labels).mean() > 0.9


@pytest.mark.slow
def test_too_many_training_photos_are_thinned_out_alike_in_each_class_and_their_number_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = train_and_val(tmp_path / "photos", 0.4, seed=0)[0]
    monkeypatch.setattr(baselines, "_NUMBERS", 20 * 3 * 6 * 8 + 7)
    rows = baselines.some_of(len(training), (6, 8))
    assert len(set(rows.tolist())) == 20
    counts = np.bincount(np.array(training.labels)[rows])
    assert counts == pytest.approx([20 * count / len(training) for count in training.counts()], abs=1)
    assert main(["evaluate", "--run", str(run)]) == 0
    text = (run / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert f"the same pixels of 20 of the {len(training)} training photos" in text


def test_roc_curves_are_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 200)
    probabilities = rng.dirichlet([1, 1, 1], 200).round(2)
    axes = diagrams.roc(labels, probabilities, ("cat", "dog", "_fox")).axes[0]
    drawn = {line.get_label().partition(": ")[2]: line.get_data() for line in axes.lines}
    assert {text.get_text() for text in axes.figure.legends[0].get_texts()} == {line.get_label() for line in axes.lines}
    for label, name in enumerate(("cat", "dog", "_fox")):
        false, true, _ = roc_curve(labels == label, probabilities[:, label], drop_intermediate=False)
        np.testing.assert_allclose(drawn[name], (false, true))


def test_accuracies_of_a_training_are_in_percent() -> None:
    rows = [
        {"epoch": e, "train_loss": 1, "val_loss": 1, "train_accuracy": 0.2 * e, "val_accuracy": 0.5} for e in (1, 4)
    ]
    _, accuracy = curves_figure(rows).axes
    assert accuracy.yaxis.get_major_formatter()(0.5) == "50%"


def test_pictures_of_two_classes_fit_a_phone_and_the_bars_lie_below_their_names() -> None:
    rng = np.random.default_rng(3)
    labels, probabilities = rng.integers(0, 2, 50), rng.dirichlet([1, 1], 50)
    names = ["network", "the majority class of the training photos, always"]
    accuracies = diagrams.accuracies(dict.fromkeys(names, 0.7), 50, 2)
    counts = np.array([[20, 5], [5, 20]])
    for figure in (accuracies, diagrams.confusion(counts, ("cat", "dog")), diagrams.roc(labels, probabilities, names)):
        assert 0.64 * figure.bbox.width < 340
    accuracies.canvas.draw()
    (axes,) = accuracies.axes
    beside = [text.get_window_extent() for text in axes.texts if text.get_text() in names]
    assert len(beside) == 2 and all(box.x1 < accuracies.bbox.x1 for box in beside)
    for row, box in enumerate(beside):
        assert box.y0 > axes.transData.transform((0.7, row))[1]


@pytest.mark.parametrize(("count", "name"), [(5, "Staffordshire bull terrier of kind {:02}"), (12, "{:02}")])
def test_the_printed_matrix_fits_in_120_columns(count: int, name: str) -> None:
    lines = _table([name.format(i) for i in range(count)], np.diag(np.full(count, 12345)))
    assert len(lines) == 1 + count
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= 120


def test_of_many_long_names_or_such_as_look_alike_the_worst_mistakes_are_printed() -> None:
    for names in ([f"Staffordshire bull terrier {i:02}" for i in range(14)], [f"{10**40}{i}{10**40}" for i in (1, 2)]):
        counts = np.diag(np.full(len(names), 50))
        counts[0, 1] = 3
        assert _table(names, counts) == []
        assert f"     3  {names[0]} called {names[1]}" in "\n".join(_worst(names, counts))


def test_calibration_counts_every_photo_once_by_right_and_wrong() -> None:
    rng = np.random.default_rng(4)
    labels, probabilities = rng.integers(0, 4, 300), rng.dirichlet([0.5] * 4, 300)
    left, right = diagrams.calibration(labels, probabilities).axes
    correct = int((probabilities.argmax(axis=1) == labels).sum())
    heights = [sum(bar.get_height() for bar in bars) for bars in right.containers]
    assert heights == [correct, 300 - correct]
    drawn = next(line for line in left.lines if line.get_label() == "its answers")
    assert len(drawn.get_xdata()) == sum(1 for height in np.histogram(probabilities.max(1), 15, (0, 1))[0] if height)


def test_of_many_classes_the_most_confused_are_drawn() -> None:
    counts = np.diag(np.full(60, 50))
    counts[7, 41] = 9
    axes = diagrams.confusion(counts, [f"class {i}" for i in range(60)]).axes[0]
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert len(names) == diagrams.CONFUSED
    assert {"class 7", "class 41"} <= set(names)
    at = {(names[round(t.get_position()[1])], names[round(t.get_position()[0])]): t.get_text() for t in axes.texts}
    assert at["class 7", "class 41"] == "9"


def test_galleries_hold_the_surest_and_the_least_sure_in_order() -> None:
    rng = np.random.default_rng(5)
    labels, probabilities = rng.integers(0, 3, 400), rng.dirichlet([1, 1, 1], 400)
    answers = [(max(row), i, list(row).index(max(row)) == labels[i]) for i, row in enumerate(probabilities.tolist())]
    wrong = sorted((-sure, i) for sure, i, right in answers if not right)[: gallery.MOST]
    right = sorted((-sure, i) for sure, i, right in answers if right)[: gallery.MOST]
    unsure = sorted((sure, i) for sure, i, _ in answers)[: gallery.MOST]
    assert gallery.worst_mistakes(labels, probabilities).tolist() == [i for _, i in wrong]
    assert gallery.surest_correct(labels, probabilities).tolist() == [i for _, i in right]
    assert gallery.least_sure(probabilities).tolist() == [i for _, i in unsure]


def test_a_thumbnail_keeps_the_photos_shape_and_a_photo_that_has_gone_its_caption(tmp_path: Path) -> None:
    for name in ("wide", "gone"):
        (tmp_path / "cat").mkdir(exist_ok=True)
        Image.new("RGB", (900, 300)).save(tmp_path / "cat" / f"{name}.png")
    photos = list_photos(tmp_path)
    (tmp_path / "cat" / "gone.png").unlink()
    gone, wide = gallery.load(np.array([0, 1]), photos, np.array([[1.0], [1.0]]))
    assert gone.photo is None
    assert gone.caption() == "cat, 100.0%"
    assert wide.photo is not None
    assert wide.photo.width == 3 * wide.photo.height


def test_the_page_stands_alone_and_shows_the_worst_mistakes_in_order(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--run", str(run)]) == 0
    printed = capsys.readouterr()
    for words in ("linear classifier", "k nearest neighbours"):
        assert words in printed.out
    report = run / "evaluation"
    assert str(report / "index.html") in printed.err
    text = (report / "index.html").read_text(encoding="utf-8")
    page = ReportPage(text)
    assert not page.open
    assert not page.tags & {"script", "link", "iframe", "b"}
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert "url(" not in text
    assert "@import" not in text
    for link in page.links:
        if link.startswith("data:"):
            Image.open(io.BytesIO(base64.b64decode(link.partition(",")[2]))).verify()
    for file in report.glob("*.png"):
        with Image.open(file) as picture:
            assert min(picture.size) > 200
    assert {path.name for path in report.iterdir()} >= {"curves.png", "confusion.png", "roc.png", "calibration.png"}

    classifier, worst = Classifier.load(run), []
    photos = train_and_val(tmp_path / "photos", 0.4, seed=0)[1]
    for i, path in enumerate(photos.paths):
        label, answer = photos.classes[photos.labels[i]], classifier.predict(photos.path(i))
        if answer.label != label:
            said = f"{label}, called {answer.label}, {answer.probability:.1%}"
            worst.append((-answer.probability, on_one_line(said), on_one_line(path)))
    assert page.captions["mistakes"] == [(said, path) for _, said, path in sorted(worst)]
    assert len(worst) > 2
    assert any(path.endswith(f"<b>{i}.png") for _, _, path in worst for i in range(40))


def test_figures_alone_write_nothing_and_import_neither_torch_nor_matplotlib(run: Path) -> None:
    before = sorted(run.rglob("*"))
    code = (
        "import sys; from catdog.cli.main import main; main(sys.argv[1:]);"
        "print(sorted({'torch', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "evaluate", "--json", "--run", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures, imported = done.stdout.splitlines()
    assert set(json.loads(figures)) >= {"n", "accuracy", "accuracy_interval", "loss", "auc", "ece", "confusion"}
    assert set(json.loads(figures)["baselines"]) == {"majority_class", "nearest_mean_colour"}
    assert imported == "[]"
    assert sorted(run.rglob("*")) == before


@pytest.mark.slow
def test_the_report_goes_where_out_says(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], make_photos: MakePhotos
) -> None:
    assert main(["evaluate", "--run", str(run), "--json", "--out", str(tmp_path / "a" / "report")]) == 0
    assert set(json.loads(capsys.readouterr().out)["baselines"]) >= {"linear_classifier", "k_nearest_neighbours"}
    assert main(["evaluate", "--run", str(run), "--out", str(tmp_path / "one.html")]) == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "a" / "report" / "index.html").read_bytes()
    assert not (run / "evaluation").exists()
    photos, site = tmp_path / "photos", tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("mine")
    for out, words in (
        (tmp_path / "x.png", "give a folder"),
        (tmp_path / "no" / "x.html", "there is no folder"),
        (photos / "report", "lies among the photos"),
        (tmp_path, "which is no part of a report"),
        (site, "site holds index.html, which is no part of a report"),
        (tmp_path / "one.html" / "report", "cannot write the report"),
        (Path("."), "the folder that you are in"),
    ):
        capsys.readouterr()
        assert main(["evaluate", "--run", str(run), "--out", str(out)]) == 2
        said = capsys.readouterr().err.splitlines()
        assert words in said[-1]
        assert said[-1].endswith(".")


@pytest.mark.slow
def test_the_network_that_comes_with_catdog_asks_for_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--run", "cats-dogs"]) == 2
    error = "catdog: cats-dogs comes without its photos; give a folder of yours: catdog evaluate --data photos\n"
    assert capsys.readouterr().err == error


def test_a_model_outside_a_run_and_a_run_without_its_photos_are_evaluated_with_what_there_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = (tmp_path / "photos").rename(tmp_path / "moved")
    (photos / HOSTILE / "bad <i>.jpg").write_bytes(b"")
    (run / "metrics.csv").unlink()
    assert main(["evaluate", "--run", str(run), "--data", str(photos)]) == 0
    printed = capsys.readouterr()
    assert "no nearest neighbours to compare with: there is no folder" in printed.err
    assert "nearest mean colour" in printed.out
    assert "linear classifier" not in printed.out
    assert printed.out.startswith("accuracy ")
    text = (run / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert "bad &lt;i&gt;.jpg" in text
    assert "cannot read" in text
    assert not (run / "evaluation" / "curves.png").exists()

    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((run / "model.safetensors").read_bytes())
    assert main(["evaluate", "--run", str(alone), "--data", str(photos)]) == 0
    printed = capsys.readouterr()
    assert "accuracy" in printed.out
    assert "say with --out where" in printed.err
    assert list(alone.parent.iterdir()) == [alone]


def test_a_report_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "evaluation"
    folder.write_folder(place, {"index.html": b"old", "a.png": b"old"})
    real: Any = os.fsync
    calls = []

    def fails_the_second_time(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(folder.os, "fsync", fails_the_second_time)
    with pytest.raises(CatdogError, match=r"cannot write the report .*No space left"):
        folder.write_folder(place, {"index.html": b"new", "b.png": b"new"})
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"index.html": b"old", "a.png": b"old"}
    assert list(tmp_path.iterdir()) == [place]

    rename = Path.rename

    def fails_to_place_the_new(self: Path, target: Path) -> Path:
        if target == place and (self / "b.png").exists():
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_to_place_the_new)
    with pytest.raises(CatdogError, match="Input/output error"):
        folder.write_folder(place, {"index.html": b"new", "b.png": b"new"})
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"index.html": b"old", "a.png": b"old"}
    assert list(tmp_path.iterdir()) == [place]
    monkeypatch.undo()

    folder.write_folder(place, {"index.html": b"new", "b.png": b"new"})
    assert {path.name: path.read_bytes() for path in place.iterdir()} == {"index.html": b"new", "b.png": b"new"}
    assert list(tmp_path.iterdir()) == [place]


def test_what_is_no_report_is_never_replaced(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation").mkdir()
    (run / "evaluation" / "my notes.txt").write_text("mine")
    assert main(["evaluate", "--run", str(run)]) == 2
    assert "holds my notes.txt" in capsys.readouterr().err
    assert (run / "evaluation" / "my notes.txt").read_text() == "mine"
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert main(["evaluate", "--run", str(run), "--out", str(tmp_path / "link")]) == 2
    assert "link is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
