"""The card of a run, README.md: read by Hugging Face's own library, and its figures counted again from the photos."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import in_one_and_in_two_parts, quiet
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from markdown_it import MarkdownIt

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config, to_toml
from catdog.data.held_out import held_out_photos
from catdog.metrics import accuracy_interval
from catdog.predict import Classifier
from catdog.runs.answers import read_answers
from catdog.runs.metrics_csv import read_metrics
from catdog.runs.readme import readme, without_places
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
HOSTILE = {"<b>&amp; [x](y) `|` $1$": 12, "---\n# cat: {a}": 12, "caf\udce9 \x1b[31m\u2028": 12}


def card_of(run: Path) -> Any:
    """The card as huggingface_hub reads it; invalid metadata raise an error, and a broken model-index is an error."""
    return ModelCard((run / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False)


def table(run: Path, head: str) -> list[list[str]]:
    """The rows of the table of a card whose first cell is `head`, as a reader of Markdown sees them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(card_of(run).text)
    rows: list[list[str]] = []
    for token, inside in pairwise(tokens):
        if token.type == "tr_open":
            rows.append([])
        if token.type in ("th_open", "td_open"):
            rows[-1].append("".join(part.content for part in inside.children or () if part.type.startswith("text")))
    first = next(i for i, row in enumerate(rows) if row[0] == head)
    return [row for row in rows[first + 1 :] if len(row) == len(rows[first])]


def test_the_figures_are_those_of_the_network_on_its_validation_photos(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    """Counted again by asking the network; the model-index says the same as metrics.csv."""
    config = small_config(make_photos({"cat": 40, "dog": 30}), epochs=4)
    run = train(config, log=quiet)
    photos = held_out_photos(Path(config.photos.data), config)
    classifier = Classifier.load(run)
    right = np.zeros(2, int)
    for i, label in enumerate(photos.labels):
        right[label] += classifier.predict(photos.path(i)).label == photos.classes[label]
    counts = np.bincount(photos.labels, minlength=2)
    assert classifier.card.by_class == tuple(zip(counts.tolist(), right.tolist(), strict=True))

    def row(name: str, correct: int, n: int) -> list[str]:
        low, high = accuracy_interval(correct, n)
        return [name, f"{correct / n:.2%}", f"{low:.2%} to {high:.2%}", str(n)]

    expected = [row("all", right.sum(), counts.sum()), row("cat", right[0], counts[0]), row("dog", right[1], counts[1])]
    assert table(run, "photos of") == expected
    assert [int(count) for _, count in table(run, "class")] == list(classifier.card.train_counts)

    accuracy, ece = card_of(run).data.eval_results
    best = max(row["val_accuracy"] for row in read_metrics(run))
    assert (accuracy.task_type, accuracy.metric_type) == ("image-classification", "accuracy")
    assert accuracy.metric_value == pytest.approx(best, abs=1e-6)
    assert ece.metric_value == pytest.approx(classifier.card.validation["ece"], abs=1e-6)
    assert (accuracy.dataset_name, accuracy.dataset_split) == ("photos in photos", "validation")


@pytest.mark.slow
def test_of_folds_they_are_those_of_networks_that_had_not_seen_the_photos(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    run = train(small_config(make_photos({"cat": 15, "dog": 15}), folds=3, epochs=2), log=quiet)
    answers = read_answers(run)
    right = answers.called == answers.labels
    by_class = [(int((answers.labels == i).sum()), int(right[answers.labels == i].sum())) for i in range(2)]
    assert list(Classifier.load(run).card.by_class) == by_class
    (accuracy, _) = card_of(run).data.eval_results
    assert accuracy.dataset_split == "cross-validation"
    assert accuracy.metric_value == pytest.approx(right.mean(), abs=1e-6)


def test_names_of_any_kind_are_only_names(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> None:
    """Of classes, of the folder of photos and of the run: no YAML, no Markdown, no HTML of their own."""
    photos = make_photos(HOSTILE, name='my: "photos" #1 \u2028- x: {')
    out = str(tmp_path / "run: [a, b] # <i>'\"\\")
    run = train(small_config(photos, out=out, epochs=1), log=quiet)
    card = card_of(run)
    (name, results) = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == Path(out).name and results[0].dataset_name == 'photos in my: "photos" #1 \\u2028- x: {'
    assert [row[0] for row in table(run, "class")] == [
        "---\\n# cat: {a}",
        "<b>&amp; [x](y) `|` $1$",
        "caf? \\x1b[31m\\u2028",
    ]
    html = MarkdownIt("commonmark").enable("table").render(card.text)
    assert "<b>" not in html and "<a " not in html and "<i>" not in html
    assert card.data.to_dict().keys() == {"library_name", "pipeline_tag", "tags", "metrics", "model-index"}


def test_it_says_nothing_of_places_on_this_machine_and_where_the_weights_are_from(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 12, "dog": 12})
    first = train(small_config(photos, out=str(tmp_path / "first"), epochs=1), log=quiet)
    changes = {"cache": str(tmp_path / "kept"), "start_from": str(first), "epochs": 2}
    config = small_config(photos, out=str(tmp_path / "second"), **changes)
    assert main(["train", *flags(config)]) == 0
    text = (tmp_path / "second" / "README.md").read_text()
    assert str(tmp_path) not in text and str(Path.cwd()) not in text
    assert "Its training began with the weights of first (sha256 " in text
    resolved = load_config(tmp_path / "second" / "config.toml")
    assert str(tmp_path) in to_toml(resolved) and str(tmp_path) not in to_toml(without_places(resolved))
    (block,) = (part.partition("```")[0] for part in text.split("```toml\n")[1:])
    settings = dict(line.split(" = ") for line in block.splitlines())
    assert (settings["epochs"], settings["start_from"], settings["data"]) == ("2", '"first"', '"photos"')


def flags(config: Config) -> list[str]:
    """The flags of `catdog train` for what `small_config` sets."""
    given = {**vars(config.photos), **vars(config.model), **vars(config.training), **vars(config.run)}
    wanted = ("data", "cache", "start_from", "epochs", "out", "folds", "device", "threads")
    return [word for name in wanted for word in (f"--{name.replace('_', '-')}", str(given[name]))]


def test_a_stopped_training_writes_it_at_its_end_and_a_finished_one_that_has_none_too(
    make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(make_photos({"cat": 20, "dog": 20}), epochs=3)
    whole, part = in_one_and_in_two_parts(config, 1, tmp_path, monkeypatch)
    expected = (whole / "README.md").read_text().replace('"whole"', '"part"').replace("# whole", "# part")
    assert (part / "README.md").read_text() == expected
    (part / "README.md").unlink()
    assert main(["train", "--resume", str(part)]) == 0
    assert (part / "README.md").read_text() == expected
    assert main(["train", "--resume", str(part), "--epochs", "5"]) == 0
    assert " of 5. " in (part / "README.md").read_text()


def test_the_network_and_the_settings_of_an_older_file_are_enough(
    make_photos: MakePhotos, small_config: MakeConfig
) -> None:
    """Without the figures by class, which it has not: the others are there."""
    from catdog.checkpoint.model_file import save_model
    from catdog.checkpoint.saved_model import load_model

    config = small_config(make_photos({"cat": 20, "dog": 20}), epochs=1)
    run = train(config, log=quiet)
    tensors, card = load_model(run / "model.safetensors")
    validation = {name: value for name, value in card.validation.items() if name != "ece"}
    older = dataclasses.replace(card, by_class=(), validation=validation, trained_on="")
    save_model(run / "model.safetensors", tensors, older)
    (run / "README.md").write_text(readme(run, load_config(run / "config.toml")))
    assert [row[0] for row in table(run, "photos of")] == ["all"]
    (accuracy,) = card_of(run).data.eval_results
    assert accuracy.metric_value == pytest.approx(card.validation["accuracy"], abs=1e-6)
