from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import quiet

from catdog.base.text import MANY
from catdog.config.settings import Config
from catdog.predict import Classifier
from catdog.tools.explain.explanation import classes_to_show, explain
from catdog.tools.explain.words import as_text
from catdog.train import train


def test_all_of_few_classes_are_shown_and_of_many_the_true_one_and_the_likeliest() -> None:
    logits = np.random.default_rng(0).normal(size=2500)
    assert classes_to_show(logits[:MANY], 3) == list(range(MANY))
    shown = classes_to_show(logits, 7)
    assert 7 in shown
    assert sorted(logits)[-1] == max(logits[shown])
    assert len(shown) <= 4


@pytest.mark.slow
def test_the_text_of_many_classes_is_no_longer_than_that_of_few(
    make_photos: Callable[..., Path], small_config: Callable[..., Config], no_curves: None
) -> None:
    lengths = []
    for classes in (3, 60):
        photos = make_photos({f"class {i}": 3 for i in range(classes)}, name=f"photos-{classes}")
        run = train(small_config(photos, epochs=1, out=f"run-{classes}"), log=quiet)
        path = photos / "class 2" / "class 2-000.png"
        text = as_text(explain(Classifier.load(run), str(path), str(path), None, None))
        assert "softmax: class 2 " in text
        lengths.append(len(text))
    assert lengths[1] < 1.5 * lengths[0]
