"""More classes than anybody reads a table of."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data.listing import Listing
from catdog.tools.evaluation.command import as_text
from catdog.tools.evaluation.measure import Evaluation
from catdog.train import train


def evaluation(labels: np.ndarray, predicted: np.ndarray, classes: int) -> Evaluation:
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (labels, predicted), 1)
    names = tuple(f"class {i}" for i in range(classes))
    return Evaluation(len(labels), 0.5, (0.4, 0.6), 1.0, None, 0.1, names, confusion.tolist(), {}, 0)


def printed(result: Evaluation) -> list[str]:
    return as_text(result, Path("model"), Listing(Path("photos"), result.classes, [], []), "").splitlines()


def test_of_2500_classes_the_worst_mistakes_and_classes_are_printed() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2400, 20_000)  # of the last hundred there are no photos
    predicted = np.where(rng.random(len(labels)) < 0.7, labels, (labels + rng.integers(1, 40, len(labels))) % 2500)
    labels, predicted = np.append(labels, [7] * 50), np.append(predicted, [2450] * 50)
    text = printed(evaluation(labels, predicted, 2500))
    assert len(text) < 40 and max(map(len, text)) < 120
    pairs, counts = np.unique(np.stack([labels, predicted])[:, labels != predicted], axis=1, return_counts=True)
    found = [re.fullmatch(r" +(\d+)  class (\d+) called class (\d+)", line) for line in text]
    shown = [tuple(map(int, one.groups())) for one in found if one]
    assert shown[0][1:] == (7, 2450)
    assert [count for count, _, _ in shown] == sorted(counts, reverse=True)[: len(shown)]
    number = {(a, b): count for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)}
    assert all(number[a, b] == count for count, a, b in shown)
    ranked = [re.fullmatch(r" +([\d.]+)%  of (\d+) photos?: class (\d+)", line) for line in text]
    worst = [one.groups() for one in ranked if one]
    shares = {i: (predicted[labels == i] == i).mean() for i in range(2400) if (labels == i).any()}
    assert [float(share) for share, _, _ in worst] == [round(100 * s, 2) for s in sorted(shares.values())[: len(worst)]]
    assert all(int(n) == (labels == int(i)).sum() for _, n, i in worst)


@pytest.mark.parametrize("classes", [2, 12])
def test_of_few_classes_the_whole_table_is_printed(classes: int) -> None:
    labels = np.arange(classes).repeat(3)
    text = printed(evaluation(labels, labels, classes))
    assert [line.split().count("3") for line in text[-classes - 2 : -2]] == [1 + (i == 3) for i in range(classes)]


def test_a_table_of_odd_names_has_a_line_a_class() -> None:
    result = evaluation(np.array([0, 1]), np.array([0, 1]), 2)
    result = Evaluation(**{**vars(result), "classes": ("new\nline", "plain")})
    assert len(printed(result)) == len(printed(evaluation(np.array([0, 1]), np.array([0, 1]), 2)))


def test_the_plan_and_the_tables_of_a_folder_of_many_classes_are_short(
    make_photos: Callable[..., Path],
    small_config: Callable[..., Config],
    capsys: pytest.CaptureFixture[str],
    no_curves: None,
) -> None:
    photos = make_photos({f"class {i:02}": 4 + (i != 39) for i in range(40)})
    lines: list[str] = []
    train(small_config(photos, epochs=1), log=lines.append)
    assert "40 classes of " in lines[0]
    assert "class 07" not in lines[0]
    for verb in ("check", "stats"):
        assert main(["data", verb, str(photos)]) in (0, 1)
        text = capsys.readouterr().out
        assert "40 classes; the 24 with the fewest photos:" in text
        first = text.splitlines().index("40 classes; the 24 with the fewest photos:")
        assert text.splitlines()[first + 2].split() == ["class", "39", "4"]
        assert main(["data", verb, str(photos), "--json"]) in (0, 1)
        assert len(json.loads(capsys.readouterr().out)["counts"][""]) == 40
