"""A training that begins with the weights of another network."""

import hashlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import in_one_and_in_two_parts, quiet
from numpy.typing import NDArray

from catdog.checkpoint.model_file import MODEL_FILE, PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_model import load_model
from catdog.checkpoint.saved_state import load_state
from catdog.checkpoint.training_state import save_state
from catdog.cli.main import main
from catdog.config.settings import Config, Training
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.model.mlp import MLP
from catdog.runs import start
from catdog.runs.locate import TRAINED
from catdog.runs.start import choose_start
from catdog.tools.tune.search_space import dimensions
from catdog.train import resume, train
from catdog.trainer.events import Event, TrainingStarted
from catdog.trainer.step import begin_training

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"hidden": (16, 12), "batch_norm": True},
    "local": {"local": (4, 6), "hidden": (12,), "image_size": (12, 16)},
    "residual": {
        "local": (4, 6), "blocks": (1, 0), "shared": True, "pool": True, "hidden": (), "batch_norm": True,
        "image_size": (12, 16), "activation": "relu",
    },
    "torchvision": {  # with batch normalisation
        "model": "shufflenet_v2_x0_5", "hidden": (1024, 1024, 1024), "image_size": (32, 32), "epochs": 1,
    },
}  # fmt: skip


@pytest.fixture
def first(make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path) -> Callable[..., Path]:
    """first(hidden=(16,)) -> the run of a training on cats, dogs and owls."""

    def make(**changes: Any) -> Path:
        photos = make_photos({"cat": 12, "dog": 12, "owl": 12}, name="first photos")
        return train(small_config(photos, out=str(tmp_path / "first"), **changes), log=quiet)

    return make


class Beginning:
    """A listener that keeps the weights and the plan with which a training begins."""

    def __init__(self) -> None:
        self.weights: dict[str, NDArray[Any]] = {}
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, TrainingStarted):
            state = event.trainer.state.model.state_dict()
            self.weights = {name: tensor.numpy().copy() for name, tensor in state.items()}


def start_from(run: Path | str, photos: Path, out: Path, **changes: Any) -> Beginning:
    """Train on `photos` into `out`, from the weights of `run`."""
    settings = {
        "data": str(photos), "start_from": str(run), "out": str(out), "batch_size": 8, "device": "cpu", "epochs": 1,
        "threads": 1,
    }  # fmt: skip
    beginning = Beginning()
    train(load_config(None, {**settings, **changes}), beginning.lines.append, [beginning])
    return beginning


@pytest.mark.parametrize("kind", [*list(NETWORKS)[:3], pytest.param("torchvision", marks=pytest.mark.slow)])
def test_weights_are_copied_to_the_bit_and_rows_of_the_classifier_by_name(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, kind: str
) -> None:
    before, old = load_model(first(**NETWORKS[kind]) / MODEL_FILE)
    photos = make_photos({"ant": 8, "dog": 8, "cat": 8}, name="other photos")
    after = start_from(tmp_path / "first", photos, tmp_path / "run").weights
    _, new = load_model(tmp_path / "run" / MODEL_FILE)
    assert new.architecture == old.architecture
    assert load_config(tmp_path / "run" / "config.toml").architecture == old.architecture
    assert (new.mean, new.std, new.resize_filter) == (old.mean, old.std, old.resize_filter)
    assert (old.classes, new.classes) == (("cat", "dog", "owl"), ("ant", "cat", "dog"))
    for name, array in before.items():
        if name.startswith(("classifier", "network.fc")):
            np.testing.assert_array_equal(after[name][1:], array[:2])
            assert name.endswith("bias") or not any(np.array_equal(after[name][0], row) for row in array)
        else:
            np.testing.assert_array_equal(after[name], array)


@pytest.mark.parametrize(
    ("kind", "trained", "moving"),
    [
        ("dense", 1, ("classifier.",)),
        ("dense", 2, ("hidden.1.", "classifier.")),
        ("residual", 2, ("hidden.3.", "classifier.")),
        pytest.param("torchvision", 2, ("network.conv5.", "network.fc."), marks=pytest.mark.slow),
    ],
)
def test_layers_that_are_not_trained_stay_as_they_are_to_the_bit(
    first: Callable[..., Path],
    make_photos: MakePhotos,
    tmp_path: Path,
    kind: str,
    trained: int,
    moving: tuple[str, ...],
) -> None:
    before, _ = load_model(first(**NETWORKS[kind]) / MODEL_FILE)
    photos = make_photos({"cat": 12, "dog": 12, "owl": 12})
    beginning = start_from(tmp_path / "first", photos, tmp_path / "run", train_layers=trained, weight_decay=0.5)
    after, _ = load_model(tmp_path / "run" / MODEL_FILE)
    assert before.keys() == after.keys()
    for name in before:
        assert np.array_equal(before[name], after[name]) != name.startswith(moving), name
    assert any(line.lstrip().startswith("trained  ") for line in "\n".join(beginning.lines).splitlines())


def test_kept_statistics_stay_as_they_are_to_the_bit_and_all_weights_move(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    before, _ = load_model(first(**NETWORKS["residual"]) / MODEL_FILE)
    start_from(tmp_path / "first", make_photos({"cat": 12, "dog": 12}), tmp_path / "run", keep_statistics=True)
    after, _ = load_model(tmp_path / "run" / MODEL_FILE)
    for name in after:
        if not name.startswith("classifier"):
            assert np.array_equal(before[name], after[name]) == ("running" in name), name


def test_layers_that_are_not_trained_take_no_backward_pass() -> None:
    model = MLP((6, 8), 3, hidden=(16, 12, 10), batch_norm=True, dropout=0.5)
    seen: list[bool] = []
    for layer in model.hidden:
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.requires_grad))
    begin_training(model, Training(train_layers=2))
    model(torch.rand(4, 3, 6, 8)).sum().backward()
    assert seen == [False, False, True]
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        name for name, _ in model.named_parameters() if name.startswith(("hidden.2", "classifier"))
    ]


@pytest.mark.parametrize("changes", [{}, {"train_layers": 2, "ema": 0.0}, {"keep_statistics": True}])
def test_a_training_that_is_resumed_does_not_look_at_that_network_again(
    first: Callable[..., Path], make_photos: MakePhotos, small_config: MakeConfig, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any],
) -> None:  # fmt: skip
    network = first(**NETWORKS["dense"])
    settings = {"data": str(make_photos({"cat": 20, "dog": 20})), "start_from": str(network), "device": "cpu"}
    config = load_config(None, {"threads": 1, "epochs": 3, "learning_rate": 1e-3, **settings, **changes})
    opened: list[Path] = []
    load = start.load_model

    def note_and_load(path: Path) -> Any:
        opened.append(path)
        return load(path)

    monkeypatch.setattr(start, "load_model", note_and_load)
    whole, part = in_one_and_in_two_parts(config, 2, tmp_path, monkeypatch)
    assert len(opened) == 4  # twice of each, none of them resumed
    assert (part / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()


def test_a_training_without_a_checkpoint_yet_starts_from_it_again(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    start_from(first(**NETWORKS["residual"]), make_photos({"cat": 8, "dog": 8}), run)
    whole = (run / MODEL_FILE).read_bytes()
    for name in (MODEL_FILE, STATE_FILE, PREVIOUS_FILE):
        (run / name).unlink()
    resume(run, log=quiet)
    assert (run / MODEL_FILE).read_bytes() == whole


def test_a_checkpoint_with_another_normalisation_is_refused(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    start_from(first(), make_photos({"cat": 8, "dog": 8}), tmp_path / "run")
    state = load_state(tmp_path / "run" / STATE_FILE)
    for wrong in ({}, {**state["start"], "std": (1.0, 0.0, 1.0)}, {**state["start"], "mean": (math.nan, 1.0, 1.0)}):
        save_state(tmp_path / "run" / STATE_FILE, {**state, "start": wrong})
        with pytest.raises(CatdogError, match="cannot go on from"):
            resume(tmp_path / "run", log=quiet, epochs=2)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("dense", {"image_size": (8, 8)}, r"image_size \(--image-size\) is 8 8, and that of first, .* is 6 8"),
        ("dense", {"hidden": (17, 12)}, r"hidden \(--hidden\) is 17 12, .* is 16 12"),
        ("dense", {"batch_norm": False}, r"batch_norm \(--batch-norm\) is false, .* is true"),
        ("dense", {"model": "resnet18"}, r"model \(--model\) is resnet18, .* is mlp"),
        ("local", {"local": (4,)}, r"local \(--local\) is 4, .* is 4 6"),
        ("local", {"image_size": (24, 32)}, r"image_size"),
        ("local", {"shared": True}, r"shared"),
        ("residual", {"blocks": ()}, r"blocks \(--blocks\) is empty, .* is 1 0"),
        ("residual", {"field": 3}, r"field"),
    ],
)
def test_an_architecture_that_contradicts_the_network_is_one_sentence(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, kind: str, given: dict[str, Any], message: str
) -> None:
    first(**{**NETWORKS[kind], "epochs": 1})
    with pytest.raises(CatdogError, match=message + r".*leave --.* out, or begin anew with --start-from none\.$"):
        start_from(tmp_path / "first", make_photos({"cat": 8, "dog": 8}), tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "given", "new"),
    [
        ("dense", {"hidden": (16, 9), "activation": "tanh", "dropout": 0.1}, ("hidden.1.", "classifier.")),
        ("residual", {"image_size": (24, 32)}, ()),
        ("residual", {"hidden": (5,)}, ("hidden.4.", "classifier.")),
    ],
)
def test_what_is_given_and_leaves_the_first_layers_alone_goes_over_the_network(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, kind: str, given: dict[str, Any],
    new: tuple[str, ...],
) -> None:  # fmt: skip
    before, _ = load_model(first(**{**NETWORKS[kind], "epochs": 1}) / MODEL_FILE)
    photos = make_photos({"cat": 8, "dog": 8, "owl": 8})
    after = start_from(tmp_path / "first", photos, tmp_path / "run", **given).weights
    for name, array in before.items():
        is_same = array.shape == after[name].shape and np.array_equal(array, after[name])
        assert is_same != bool(name.startswith(new) and array.any()), name
    architecture = load_config(tmp_path / "run" / "config.toml").architecture
    assert all(getattr(architecture, field) == value for field, value in given.items())


def test_a_default_that_is_given_is_told_from_one_that_is_not(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    first(epochs=1)
    recipe = tmp_path / "mine.toml"
    recipe.write_text("[photos]\nimage_size = [32, 32]\n")
    settings = {"data": str(make_photos({"cat": 8, "dog": 8})), "start_from": str(tmp_path / "first")}
    for file, flags in ((recipe, {}), (None, {"image_size": (32, 32)})):
        with pytest.raises(CatdogError, match=r"image_size .* is 32 32, and that of first, .* is 6 8"):
            train(load_config(file, {**settings, **flags}), log=quiet)


def test_the_linear_classifier_of_other_classes_has_nothing_to_start_from(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    with pytest.raises(CatdogError, match=r"no weights of first .* fit"):
        start_from(first(hidden=(), epochs=1), make_photos({"ant": 8, "bee": 8}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("flags", [{"train_layers": 1}, {"keep_statistics": True}])
def test_nothing_is_kept_of_new_weights(flags: dict[str, Any]) -> None:
    with pytest.raises(CatdogError, match="give --start-from RUN too, or leave them out"):
        load_config(None, {"start_from": "none", **flags})


def test_the_header_tells_of_which_networks_it_was_made(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos = make_photos({"cat": 8, "dog": 8})
    names = ["first", "second", "third"]
    first(epochs=1)
    start_from(tmp_path / "first", photos, tmp_path / "second")
    start_from(tmp_path / "second" / MODEL_FILE, photos, tmp_path / "third")
    sums = [hashlib.sha256((tmp_path / name / MODEL_FILE).read_bytes()).hexdigest()[:12] for name in names]
    cards = [load_model(tmp_path / name / MODEL_FILE)[1] for name in names]
    assert [card.started_from for card in cards] == [
        "",
        f"first (sha256 {sums[0]})",
        f"second (sha256 {sums[1]}), started from first (sha256 {sums[0]})",
    ]


def test_the_network_that_comes_with_catdog_is_started_from_by_its_name(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    before, card = load_model(TRAINED)
    photos = make_photos({"dog": 4, "cat": 4})
    beginning = start_from("cats-dogs", photos, tmp_path / "run", train_layers=1)
    for name, array in before.items():
        if not name.startswith("familiarity."):
            np.testing.assert_array_equal(beginning.weights[name], array)
    config = load_config(tmp_path / "run" / "config.toml")
    assert (config.architecture, config.model.start_from) == (card.architecture, "cats-dogs")
    assert any(
        line.startswith("trained in") and "the weights of cats-dogs (sha256 " in line for line in beginning.lines
    )


def test_the_search_and_the_first_step_are_of_the_architecture_that_comes_from_there(
    first: Callable[..., Path], make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    network, photos = first(**NETWORKS["local"]), make_photos({"cat": 8, "dog": 8})
    config = choose_start(load_config(None, {"start_from": str(network)}))
    (hidden,) = dimensions(config, ["hidden"])
    assert hidden.own == "12"
    capsys.readouterr()
    assert main(["train", "--narrate", "--data", str(photos), "--start-from", str(network), "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert "--narrate tells of neurons that see the whole photo" in error and error.count("\n") == 1
    assert not Path("run").exists()


def test_the_one_who_answers_is_introduced_with_the_network_it_started_from(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos({"cat": 8, "dog": 8})
    start_from(first(epochs=1), photos, tmp_path / "run")
    assert main(["predict", str(photos / "cat" / "cat-000.png"), "--run", str(tmp_path / "run")]) == 0
    assert ", trained on 14 photos in photos, starting from first: right on" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "changes"),
    [("dense", {}), ("residual", {"keep_statistics": True}), ("residual", {"train_layers": 2})],
)
def test_two_processes_start_from_it_as_one_does_and_go_on_without_it(
    first: Callable[..., Path], make_photos: MakePhotos, tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    from test_distributed import curve, train_by

    network = first(**NETWORKS[kind])
    before, _ = load_model(network / MODEL_FILE)
    photos = make_photos({"ant": 20, "cat": 20, "dog": 20})
    settings = {"data": str(photos), "start_from": str(network), "batch_size": 14, "epochs": 2, "device": "cpu"}
    settings |= {"optimizer": "sgd", "learning_rate": 0.02, "folds": 1}
    for size, name in ((1, "one"), (2, "two")):
        train_by(size, load_config(None, {"threads": 1, **settings, **changes, "out": str(tmp_path / name)}))
    (_, card), (two, two_card) = (load_model(tmp_path / name / MODEL_FILE) for name in ("one", "two"))
    assert (card.mean, card.std, card.started_from) == (two_card.mean, two_card.std, two_card.started_from)
    np.testing.assert_allclose(curve(tmp_path / "one"), curve(tmp_path / "two"), rtol=1e-5, atol=1e-6)
    for name in before:
        is_kept = changes.get("train_layers") and not name.startswith(("hidden.3.", "classifier"))
        if is_kept or (changes.get("keep_statistics") and "running" in name):
            np.testing.assert_array_equal(two[name], before[name])
    shutil.rmtree(network)
    saved = load_state(tmp_path / "two" / STATE_FILE)
    longer = {**saved, "config": saved["config"].replace("\nepochs = 2\n", "\nepochs = 3\n")}
    save_state(tmp_path / "two" / STATE_FILE, longer)
    train_by(2, tmp_path / "two")
    assert load_model(tmp_path / "two" / MODEL_FILE)[1].started_from == card.started_from
    assert len(curve(tmp_path / "two")) == 3
