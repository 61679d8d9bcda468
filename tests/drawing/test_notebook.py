"""What answers, explanations and evaluations show in a notebook: their figures, and nothing that names could put in."""

import re
from pathlib import Path

import drawn_photos
import numpy as np
import pytest
from networks import arrays_of, network
from pages import Page

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.data import list_photos
from catdog.predict import Classifier, Prediction
from catdog.tools.evaluation import Evaluation, evaluate
from catdog.tools.explain import explain

HOSTILE = "<script>alert(1)</script>\"' onerror=x &lt; \x1b caf\udce9"
SHOWN = "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27; onerror=x &amp;lt; \\x1b caf?"
TAGS = {"div", "table", "tr", "th", "td", "img"}


def read(shown: object) -> str:
    """The HTML of an object, as a notebook asks for it: small, whole, and of nothing but these tags and data."""
    html: str = shown._repr_html_()  # type: ignore[attr-defined]
    page = Page(html)
    assert page.open == [] and page.tags <= TAGS
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert page.attributes <= {"style", "alt", "src"} and "url(" not in html
    assert len(html.encode("utf-8")) < 60_000
    return html


def words(html: str) -> str:
    return re.sub(r"<[^>]*>", " ", html)


@pytest.fixture
def classifier() -> Classifier:
    shape = Architecture((48, 60), (9,), "relu", True, local=(4, 6), shared=True, pool=True)
    classes = ("cat", "dog", HOSTILE)
    colours = ((120.0, 110.0, 100.0), (60.0, 61.0, 62.0))
    more = {"mean_colours": ((100.0, 100.0, 100.0),) * 3, "train_counts": (1, 2, 3)}
    card = ModelCard(shape, classes, *colours, "bilinear", True, "softmax", 1.3, **more)  # type: ignore[arg-type]
    return Classifier(arrays_of(network(shape)), card)


def test_an_answer_shows_each_class_the_answer_first_and_how_familiar_the_photo_is() -> None:
    html = read(Prediction(HOSTILE, 0.875, {"cat": 0.125, HOSTILE: 0.875}, 0.25))
    assert html.count(SHOWN) == 2 and "<script" not in html
    assert (
        words(html).split()
        == words(f"{SHOWN} 87.5% {SHOWN} 87.5% cat 12.5%").split()
        + words("Of photos like those it was trained on, 75% are more like them than this one.").split()
    )
    assert re.findall(r";width:([\d.]+)%", html) == ["87.50", "12.50"]
    assert "familiar" not in read(Prediction("cat", 1.0, {"cat": 1.0}))


def test_of_many_classes_it_shows_the_likeliest() -> None:
    shares = {f"class {i}": (i + 1) / 5050 for i in range(100)}
    shown = words(read(Prediction("class 99", shares["class 99"], shares)))
    assert re.findall(r"class \d+", shown)[1:] == [f"class {i}" for i in range(99, 91, -1)]
    assert "and 92 more" in shown


def test_an_explanation_shows_the_photo_and_its_pixels(classifier: Classifier, tmp_path: Path) -> None:
    photo = drawn_photos.save(tmp_path / f"{'<b>' + chr(0xDCE9)}.jpg", "cat", 3)
    explanation = explain(classifier, str(photo), label="dog", checks=False)
    html = read(explanation)
    answer = classifier.predict(photo)
    assert explanation.answer == f"{answer.label} {answer.probability:.1%}"
    for name, share in answer.probabilities.items():
        assert f"{share:.1%}" in html and (SHOWN if name == HOSTILE else name) in html
    assert html.count("<img ") == 2 and "&lt;b&gt;" in html and "<b>" not in html
    shares = explanation.attribution
    assert repr(explanation) == f"<Explanation of <b>\\udce9.jpg: {explanation.answer}>"
    assert f"{shares.pixels.sum():+.2f} from the pixels, {shares.biases:+.2f} from the biases" in html


def test_an_evaluation_shows_its_figures_and_the_confusion_matrix(classifier: Classifier, tmp_path: Path) -> None:
    result, _, _ = evaluate(classifier, list_photos(drawn_photos.fill(tmp_path / "photos", 8)), cache_folder="none")
    html = read(result)
    shown = " ".join(words(html).split())
    low, high = result.accuracy_interval
    assert shown.startswith(f"{result.accuracy:.2%} of 16 photos right 95% interval {low:.2%} to {high:.2%}. ")
    rows = re.findall(r"photos of (?:cat|dog) (\d+) (\d+) (\d+)", shown)
    assert [list(map(int, row)) for row in rows] == result.confusion[:2]
    assert all(f"{share:.2%}" in shown for share in result.baselines.values())
    assert html.count(f"photos of {SHOWN.replace('?', chr(92) + 'udce9')}") <= 1


def test_an_evaluation_of_many_classes_shows_the_most_frequent_mistakes() -> None:
    counts = np.diag(np.full(20, 9))
    counts[3, 5], counts[7, 1] = 4, 2
    names = tuple(f"class {i}" for i in range(20))
    figures = {"loss": 1.0, "auc": None, "ece": 0.1, "baselines": {"majority_class": 0.05}, "skipped": 2}
    result = Evaluation(186, 0.9, (0.8, 0.95), classes=names, confusion=counts.tolist(), **figures)  # type: ignore[arg-type]
    shown = " ".join(words(read(result)).split())
    assert "class 3 called class 5 4 class 7 called class 1 2" in shown
    assert "2 photos could not be read" in shown and "ROC" not in shown
