"""The numbers of an explanation, against torch's autograd in float64, and against each other."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import save_photo
from torch import Tensor

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE, save_model
from catdog.checkpoint.saved_model import expected_shapes
from catdog.errors import CatdogError
from catdog.model.build import build_mlp
from catdog.model.mlp import MLP, count_weights
from catdog.numpy_net import ACTIVATIONS
from catdog.predict import Classifier
from catdog.tools.explain.backprop import SLOPES, Network
from catdog.tools.explain.explanation import Explanation, explain
from catdog.tools.explain.gradient_check import Derivative, GradientChecker
from catdog.tools.explain.learned import attribute_pixels, contributions, importance, smooth, templates
from catdog.tools.explain.loss import Loss
from catdog.tools.explain.summary import summary
from catdog.tools.explain.words import as_text
from catdog.trainer.losses import SoftmaxLoss, SVMLoss

LOSSES = {"softmax": Loss("softmax"), "svm": Loss("svm"), "squared svm": Loss("svm", squared=True)}
ACTIVATION_NAMES = ("relu", "gelu", "tanh", "sigmoid")


def random_run(folder: Path, **changes: Any) -> Path:
    """A run folder that holds a network of random weights."""
    architecture: dict[str, Any] = {"image_size": (5, 6), "hidden": (9, 8, 7)}
    architecture |= {"activation": "gelu", "batch_norm": False, "local": (), "field": 4}
    architecture |= {"shared": False, "blocks": [], "pool": False, "pool_all": False}
    architecture |= {name: changes.pop(name) for name in list(changes) if name in architecture}
    about: dict[str, Any] = {
        "classes": ("cat", "dog"),
        "mean": (120.0, 115.0, 100.0),
        "std": (60.0, 61.0, 59.0),
        "resize_filter": "bilinear",
        "average_mirrored": True,
        "loss": "softmax",
        "temperature": 0.7,
    }
    card = ModelCard(**{**about, **changes, "architecture": Architecture(**architecture)})
    rng = np.random.default_rng(3)
    tensors = {}
    for name, shape in expected_shapes(card).items():
        scale = 1.5 / np.sqrt(shape[1]) if len(shape) > 1 else 0.3
        values = rng.normal(0, scale, shape)
        tensors[name] = (np.abs(values) + 0.5 if name.endswith(("running_var", "norm.weight")) else values).astype("f4")
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / MODEL_FILE, tensors, card)
    return folder


def torch_twin(classifier: Classifier) -> MLP:
    """The same network as a torch module in float64."""
    a = classifier.card.architecture
    classes = len(classifier.classes)
    model = build_mlp(a, classes).double().eval()
    state = {name: torch.from_numpy(t.astype(np.float64)) for name, t in classifier.tensors.items()}
    model.load_state_dict({**model.state_dict(), **state})
    return model


def torch_loss(loss: Loss) -> torch.nn.Module:
    return SVMLoss(loss.squared) if loss.kind == "svm" else SoftmaxLoss()


@pytest.fixture
def photo(tmp_path: Path) -> str:
    save_photo(tmp_path / "dog" / "rex.png", 5)
    return str(tmp_path / "dog" / "rex.png")


def explained(tmp_path: Path, photo: str, loss: str = "softmax", **changes: Any) -> tuple[Explanation, MLP, Tensor]:
    """(the explanation, the torch network, its input, which wants a gradient)."""
    about = {"loss": LOSSES[loss].kind, "squared_hinge": LOSSES[loss].squared}
    classifier = Classifier.load(random_run(tmp_path / "run", **about, **changes))
    e = explain(classifier, photo, photo)
    x = torch.from_numpy(e.x).view(1, *e.pixels.shape).clone().requires_grad_()
    return e, torch_twin(classifier), x


def assert_is_its_dense_matrix(e: Explanation, atol: float) -> None:
    """Each layer computes with the rows of W, zeros and all. atol: of the products of the gradients with W."""
    for layer, k, g in zip(e.network.layers, e.outputs, e.gradients, strict=True):
        dense = np.array([layer.row(unit) for unit in range(layer.units)])
        np.testing.assert_allclose(dense @ k.x + layer.bias, k.sum, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.transposed_product(g.sum), g.sum @ dense, rtol=1e-9, atol=atol)
        for j in range(0, layer.inputs, 7):
            np.testing.assert_allclose(layer.column(j), dense[:, j])
            assert [layer.is_connected(unit, j) for unit in range(layer.units)] == (dense[:, j] != 0).tolist()
            assert layer.fan_out(j) == (dense[:, j] != 0).sum()


@pytest.mark.parametrize("field", [3, 4])
def test_gradients_of_local_layers_are_autograds_and_a_step_is_torchs(tmp_path: Path, photo: str, field: int) -> None:
    changes: dict[str, Any] = {
        "image_size": (9, 12),
        "local": (4, 5),
        "field": field,
        "hidden": (6,),
        "classes": ("cat", "dog", "fox"),
    }
    e, model, x = explained(tmp_path, photo, **changes)
    logits = model(x)
    value = torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
    value.backward()
    np.testing.assert_allclose(e.logits, logits[0].detach().numpy(), rtol=1e-12)
    assert x.grad is not None
    np.testing.assert_allclose(e.x_gradient, x.grad.numpy().reshape(-1), rtol=1e-9, atol=1e-14)
    square = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    assert e.squared_norm == pytest.approx(square, rel=1e-9)
    assert_is_its_dense_matrix(e, atol=1e-14)
    torch.optim.SGD(model.parameters(), lr=e.steps[0].rate).step()
    with torch.no_grad():
        np.testing.assert_allclose(e.steps[0].logits, model(x)[0].numpy(), rtol=1e-9)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize(
    ("shared", "blocks", "pool"),
    [
        (True, (), ""),
        (False, (1, 0), "pool"),
        (True, (2, 1), "pool"),
        (True, (1, 1), "pool_all"),
        (False, (), "pool_all"),
    ],
)
def test_gradients_and_step_of_what_places_share_and_blocks_add_are_autograds(
    tmp_path: Path, photo: str, shared: bool, blocks: tuple[int, ...], pool: str, batch_norm: bool, activation: str
) -> None:
    """A weight that several places share has the sum of their gradients, and is counted, and moved, once."""
    changes: dict[str, Any] = {"shared": shared, "blocks": blocks, "batch_norm": batch_norm}
    changes |= {pool: True} if pool else {}
    changes |= {"image_size": (9, 12), "local": (4, 5), "field": 3, "hidden": (6,), "activation": activation}
    e, model, x = explained(tmp_path, photo, classes=("cat", "dog", "fox"), **changes)
    logits = model(x)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1])).backward()
    np.testing.assert_allclose(e.logits, logits[0].detach().numpy(), rtol=1e-10)
    assert x.grad is not None
    np.testing.assert_allclose(e.x_gradient, x.grad.numpy().reshape(-1), rtol=1e-8, atol=1e-13)
    square = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    assert e.squared_norm == pytest.approx(square, rel=1e-9)
    assert f"all {count_weights(model):,} weights and biases moved so" in as_text(e)
    torch.optim.SGD(model.parameters(), lr=e.steps[0].rate).step()
    with torch.no_grad():
        np.testing.assert_allclose(e.steps[0].logits, model(x)[0].numpy(), rtol=1e-8)
    assert_is_its_dense_matrix(e, atol=1e-13)
    assert e.mean_logits[e.attribution.first] - e.mean_logits[e.attribution.second] == pytest.approx(
        e.attribution.difference, rel=1e-9
    )


@pytest.mark.parametrize("pool", ["pool", "pool_all"])
def test_the_sums_in_the_words_hold_with_blocks_and_the_mean_over_places(tmp_path: Path, photo: str, pool: str) -> None:
    changes: dict[str, Any] = {"image_size": (9, 12), "local": (4, 5), "field": 3, "hidden": (), "batch_norm": True}
    changes |= {"shared": True, "blocks": (1, 1), pool: True}
    e, _, _ = explained(tmp_path, photo, **changes)
    text = as_text(e)
    for a, b, c in re.findall(rf"= {NUMBER} \* \(?{NUMBER}\)? = {NUMBER}", text):
        assert float(a) * float(b) == pytest.approx(float(c), rel=2e-4), (a, b, c)
    sums = re.findall(rf"dL/da = sum of w \* dL/dz = (.*) = {NUMBER}\n", text)
    assert len(sums) == 7  # of six local layers and the mean
    for terms, total in sums:
        assert eval(terms) == pytest.approx(float(total), rel=1e-3, abs=2e-4)
    added = re.findall(rf" = {NUMBER}; plus input \d+ of hidden \d, {NUMBER}, = {NUMBER};", text)
    assert len(added) == 2
    for normed, x, total in added:
        assert float(normed) + float(x) == pytest.approx(float(total), abs=2e-4)
    (here, others, both) = re.findall(
        rf"x = .* = {NUMBER}\n .*other places that share w, together {NUMBER}: dL/dw = {NUMBER}\n", text
    )[0]
    assert float(here) + float(others) == pytest.approx(float(both), rel=1e-3)
    assert e.weight_gradient(e.path_weights[0]) == pytest.approx(float(both), rel=1e-4)


@pytest.mark.parametrize("hidden", [(), (9, 8, 7)])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("loss", LOSSES)
def test_every_gradient_is_autograds_and_a_step_is_torchs(
    tmp_path: Path, photo: str, activation: str, batch_norm: bool, hidden: tuple[int, ...], loss: str
) -> None:
    changes = {"activation": activation, "batch_norm": batch_norm, "hidden": hidden, "classes": ("cat", "dog", "fox")}
    e, model, x = explained(tmp_path, photo, loss, **changes)
    criterion, label = torch_loss(e.loss), torch.tensor([1])
    logits = model(x)
    value = criterion(logits, label)
    value.backward()
    np.testing.assert_allclose(e.logits, logits[0].detach().numpy(), rtol=1e-12)
    assert e.loss_value == pytest.approx(value.item(), rel=1e-12)
    assert e.loss_value > 0
    assert x.grad is not None
    np.testing.assert_allclose(e.x_gradient, x.grad.numpy().reshape(-1), rtol=1e-9, atol=1e-14)

    by_weight = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    names = [*(f"hidden.{i}.linear" for i in range(len(hidden))), "classifier"]
    for i, (name, k, g) in enumerate(zip(names, e.outputs, e.gradients, strict=True)):
        found = {f"{name}.weight": np.outer(g.sum, k.x), f"{name}.bias": g.sum}
        if g.gamma is not None:
            found |= {f"hidden.{i}.norm.weight": g.gamma, f"hidden.{i}.norm.bias": g.normed}
        for parameter, gradient in found.items():
            np.testing.assert_allclose(gradient, by_weight.pop(parameter), rtol=1e-9, atol=1e-14)
    assert not by_weight
    square = sum(float(p.grad.square().sum()) for p in model.parameters() if p.grad is not None)
    assert e.squared_norm == pytest.approx(square, rel=1e-9)

    step = e.steps[0]
    torch.optim.SGD(model.parameters(), lr=step.rate).step()
    with torch.no_grad():
        np.testing.assert_allclose(step.logits, model(x)[0].numpy(), rtol=1e-9)
        assert step.loss == pytest.approx(criterion(model(x), label).item(), rel=1e-9)
    assert step.predicted == pytest.approx(-step.rate * square, rel=1e-9)

    checks = [check for layer in e.gradient_checks.values() for check in layer]
    assert len(checks) > (30 if hidden else 8)
    assert max(check.relative_error for check in checks) < 1e-6
    assert not any(check.kink for check in checks)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_a_shorter_step_comes_nearer_to_the_straight_line(tmp_path: Path, photo: str, activation: str) -> None:
    e, _, _ = explained(tmp_path, photo, activation=activation)
    ratios = [step.actual(e.loss_value) / step.predicted for step in e.steps]
    off = [abs(ratio - 1) for ratio in ratios]
    assert off[2] < off[1] < off[0] < 0.5
    assert off[2] < 0.005
    assert -e.steps[0].predicted == pytest.approx(0.1 * e.loss_value, rel=0.5)


def test_a_wrong_gradient_is_an_error_that_names_it(tmp_path: Path, photo: str) -> None:
    e, _, _ = explained(tmp_path, photo)
    checker = GradientChecker(e.network, e.outputs, e.loss, e.label)
    direction = np.eye(9)[4]
    right = float(e.gradients[0].sum[4])
    (check,) = checker.check([Derivative("dL/db[unit 4]", 0, "sum", direction, right)])
    assert check.backward == right
    for wrong in (right * (1 + 1e-5), -right, 0.0):
        with pytest.raises(CatdogError, match=r"dL/db\[unit 4\].*report"):
            checker.check([Derivative("dL/db[unit 4]", 0, "sum", direction, wrong)])


def test_differences_do_not_step_over_a_kink_and_a_unit_on_one_is_named(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", activation="relu"))
    network = Network.of(classifier)
    first = network.forward(explain(classifier, photo, photo).x)[0]
    for distance in (1e-4, -1e-6, 0.0):  # of unit 2 from its kink; the first step tried is 1e-3
        tensors = {name: t.astype(np.float64) for name, t in classifier.tensors.items()}
        tensors["hidden.0.linear.bias"][2] -= first.sum[2] - distance
        near = Classifier(tensors, classifier.card)  # type: ignore[arg-type]
        e = explain(near, photo, photo)
        checker = GradientChecker(e.network, e.outputs, e.loss, e.label)
        derivative = Derivative("b", 0, "sum", np.eye(9)[2], float(e.gradients[0].sum[2]))
        check = checker._check_one(derivative)
        assert check.agrees
        assert check.kink == (distance == 0)
        assert (check.backward == 0) == (distance <= 0)


def test_the_words_say_where_differences_could_not_be_compared(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", activation="relu"))
    assert "kink" not in as_text(explain(classifier, photo, photo))
    second = Network.of(classifier).forward(explain(classifier, photo, photo).x)[1]
    tensors = {name: t.astype(np.float64) for name, t in classifier.tensors.items()}
    tensors["hidden.1.linear.bias"][3] -= second.sum[3]  # which every weight of the first layer moves
    text = as_text(explain(Classifier(tensors, classifier.card), photo, photo))  # type: ignore[arg-type]
    assert "at a kink" in text
    assert "stand exactly at a kink" in text


def test_a_surely_right_answer_still_has_exact_gradients(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run"))
    classifier.tensors["classifier.bias"] = np.array([-20, 20], "f4")
    e = explain(classifier, photo, photo)
    assert 0 < e.loss_value < 1e-14
    assert max(check.relative_error for layer in e.gradient_checks.values() for check in layer) < 1e-6


def test_a_photo_far_on_the_right_side_of_the_margin_teaches_nothing(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", loss="svm"))
    classifier.tensors["classifier.bias"] = np.array([-9, 9], "f4")
    e = explain(classifier, photo, photo)
    assert e.loss_value == e.squared_norm == e.steps[0].loss == 0
    assert "nothing to teach" in as_text(e)


@pytest.mark.parametrize("loss", ["softmax", "svm"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_last_probability_is_that_of_predict(tmp_path: Path, photo: str, mirrored: bool, loss: str) -> None:
    e, _, _ = explained(tmp_path, photo, loss, average_mirrored=mirrored)
    answer = e.classifier.predict(photo)
    np.testing.assert_allclose(e.final, list(answer.probabilities.values()), atol=1e-5)
    assert f"the answer: {answer.label} {answer.probability:.1%}" in as_text(e)
    assert (e.mirrored_logits is not None) == mirrored


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_the_shares_of_the_pixels_and_biases_sum_to_the_difference_of_the_scores(
    tmp_path: Path, photo: str, activation: str, batch_norm: bool
) -> None:
    e, model, x = explained(tmp_path, photo, activation=activation, batch_norm=batch_norm)
    shares, biases = contributions(e.network, e.x, np.array([1.0, -1.0]))
    assert shares.sum() + biases == pytest.approx(e.logits[0] - e.logits[1], rel=1e-10)
    if activation == "relu":  # near the photo the network is a straight piece: its slopes are the shares
        logits = model(x)
        (logits[0, 0] - logits[0, 1]).backward()
        assert x.grad is not None
        np.testing.assert_allclose(shares, (x.grad * x).detach().numpy().reshape(-1), rtol=1e-9, atol=1e-13)
    assert e.mirrored_logits is not None
    both = (e.logits + e.mirrored_logits) / 2
    assert e.attribution.difference == pytest.approx(both[0] - both[1], rel=1e-10)
    assert e.attribution.pixels.sum() + e.attribution.biases == pytest.approx(e.attribution.difference, rel=1e-12)
    assert e.attribution.pixels.shape == (5, 6)


def test_of_many_classes_the_two_likeliest_are_compared(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", classes=("a", "b", "c", "d"), average_mirrored=False))
    e = explain(classifier, photo, photo)
    order = np.argsort(-e.logits)
    assert (e.attribution.first, e.attribution.second) == (order[0], order[1])
    found = attribute_pixels(classifier, e.network, e.pixels, e.logits)
    assert found.difference == pytest.approx(e.logits[order[0]] - e.logits[order[1]], rel=1e-10)


def test_templates_of_a_linear_classifier_are_its_weights(tmp_path: Path) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", hidden=(), classes=("a", "b", "c")))
    found = templates(Network.of(classifier))
    w = classifier.tensors["classifier.weight"].astype(np.float64)
    np.testing.assert_allclose(found[0], w[0] - (w[1] + w[2]) / 2, rtol=1e-12)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_templates_and_importance_are_derivatives_at_the_average_photo(tmp_path: Path, activation: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", activation=activation))
    network, model = Network.of(classifier), torch_twin(classifier)
    x = torch.zeros(1, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    first: list[Tensor] = []

    def keep(module: object, inputs: object, out: Tensor) -> None:
        out.retain_grad()
        first.append(out)

    model.hidden[0].register_forward_hook(keep)
    logits = model(x)
    (logits[0, 0] - logits[0, 1]).backward()
    assert x.grad is not None
    assert first[0].grad is not None
    found = templates(network)
    np.testing.assert_allclose(found[0], x.grad.numpy().reshape(-1), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found[1], -found[0])
    lengths = np.linalg.norm(classifier.tensors["hidden.0.linear.weight"].astype(np.float64), axis=1)
    expected = lengths * np.sqrt(2) * np.abs(first[0].grad.numpy()[0])
    np.testing.assert_allclose(importance(network), expected, rtol=1e-9)


def test_smoothing_keeps_a_constant_and_the_sum_of_what_is_away_from_the_edges() -> None:
    np.testing.assert_allclose(smooth(np.full(3 * 7 * 9, 2.5), (7, 9)), 2.5)
    spot = np.zeros((3, 7, 9))
    spot[1, 3, 4] = 1
    found = smooth(spot.reshape(-1), (7, 9)).reshape(3, 7, 9)
    assert found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[1, 3, 2:7], np.array([1, 4, 6, 4, 1]) / 16 * 6 / 16)


def test_the_label_is_the_option_else_the_folder_else_the_answer(tmp_path: Path, photo: str) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run"))
    assert explain(classifier, photo, photo).label == 1
    assert "the name of the photo's folder" in as_text(explain(classifier, photo, photo))
    assert explain(classifier, photo, photo, label="cat").label == 0
    data = Path(photo).read_bytes()
    e = explain(classifier, data, "-")
    assert e.label == int(e.final.argmax())
    assert e.label_reason == ""
    for text in (as_text(e), summary(e)):
        assert "true class: " not in text
        assert f"the answer, {classifier.classes[e.label]}, is taken" in text.replace("the answer itself", "the answer")
        assert "--label" in text
    with pytest.raises(CatdogError, match=r"cow.*cat, dog"):
        explain(classifier, photo, photo, label="cow")


NUMBER = r"(-?\d[\d.]*(?:e[-+]\d+)?)"


@pytest.mark.parametrize("changes", [{}, {"activation": "relu", "batch_norm": True}, {"loss": "svm"}])
def test_the_products_in_the_words_are_right(tmp_path: Path, photo: str, changes: dict[str, Any]) -> None:
    """Every "a * b = c" that is printed holds for the digits that are printed."""
    e, _, _ = explained(tmp_path, photo, **changes)
    text = as_text(e)
    found = re.findall(rf"= {NUMBER} \* \(?{NUMBER}\)? = {NUMBER}", text)
    assert len(found) >= 15
    for a, b, c in found:
        assert float(a) * float(b) == pytest.approx(float(c), rel=2e-4), (a, b, c)
    sums = re.findall(rf"dL/da = sum of w \* dL/dz = (.*) = {NUMBER}\n", text)
    assert len(sums) == 3
    for terms, total in sums:
        assert eval(terms) == pytest.approx(float(total), abs=2e-4)
    for text_of in ("classifier", "hidden 1"):
        (w, lr, g, after) = re.findall(rf"{text_of}, .*: w' = {NUMBER} - {NUMBER} \* \(?{NUMBER}\)? = {NUMBER}", text)[
            0
        ]
        assert float(w) - float(lr) * float(g) == pytest.approx(float(after), abs=1e-6)


def test_the_summary_begins_with_the_answer_and_its_numbers_are_those_of_the_explanation(
    tmp_path: Path, photo: str
) -> None:
    e, _, _ = explained(tmp_path, photo, image_size=(9, 12), local=(4,), hidden=(6,), batch_norm=True)
    first, *lines = summary(e).splitlines()
    answer = e.classifier.predict(photo)
    assert first == f"{answer.label} {answer.probability:.1%}  rex.png"
    assert len(lines) < 30
    text = re.sub(r"\s+", " ", " ".join(lines))
    # One probability for the answer everywhere; the one that training sees, in its loss, says why it is another.
    p = e.probabilities[e.label]
    assert set(re.findall(r"\d+\.\d%", text)) == {f"{p:.1%}" for p in e.final}
    assert f"without its mirror image and the temperature) = -ln({p:.5f})" in text
    for word in ("1. input", "2. layers", "3. logits", "4. softmax", "5. answer", "6. loss", "7. gradient", "8. step"):
        assert word in text
    thirds = [block.sum() for rows in np.array_split(e.attribution.pixels, 3) for block in np.array_split(rows, 3, 1)]
    sign = 1 if answer.label == "cat" else -1
    places = [f"({value:.2f})" for value in sorted((sign * share for share in thirds), reverse=True)[:2]]
    assert re.findall(r"\(\d+\.\d\d\)", text)[:2] == places
    assert 0.8 < e.steps[0].loss / e.loss_value < 0.98  # by about a tenth, as the text says of the chosen rate
    assert f"{e.steps[0].rate:g} is a learning rate {e.rate_reason}." in text and "; training's" not in text
    assert explain(e.classifier, photo, photo, rate=0.1, training_rate=1).rate_reason == "given by --lr"


@pytest.mark.parametrize("loss", ["softmax", "svm"])
@pytest.mark.parametrize("hidden", [(), (9,)])
def test_the_summary_is_made_for_any_network_and_many_classes(
    tmp_path: Path, photo: str, hidden: tuple[int, ...], loss: str
) -> None:
    classes = tuple(f"class {i}" for i in range(30))
    e, _, _ = explained(tmp_path, photo, loss, hidden=hidden, classes=classes)
    text = re.sub(r"\s+", " ", summary(e))
    assert "and 26 more" in text
    assert ("2. layers" in text) == bool(hidden)
    assert ("scores" if loss == "svm" else "logits") in text


def test_of_a_local_layer_the_words_count_what_it_sees_and_weights_as_training_does(tmp_path: Path, photo: str) -> None:
    changes: dict[str, Any] = {"image_size": (16, 20), "local": (4, 5), "field": 4, "hidden": (6,), "batch_norm": True}
    e, model, _ = explained(tmp_path, photo, **changes)
    text = as_text(e)
    assert f"all {sum(p.numel() for p in model.parameters()):,} weights and biases moved so" in text
    assert f"{count_weights(model):,} weights and biases" in re.sub(r"\s+", " ", summary(e))
    for i, layer in enumerate(e.network.layers):
        dense = np.array([layer.row(unit) for unit in range(layer.units)]) != 0
        unit, source = (*e.path, e.label)[i], e.path_weights[i].source
        assert layer.fan_in(unit) == dense[unit].sum()
        assert layer.fan_out(source) == dense[:, source].sum()
    first = e.network.layers[0]
    assert f"a window of 48 inputs to each unit: {first.weight.size:,} weights" in text
    assert f"and {first.fan_in(e.path[0]) - 3} others, together" in text


def test_slopes_are_those_of_the_activations_that_prediction_computes() -> None:
    z = np.linspace(-9, 9, 1001)
    for name, f in ACTIVATIONS.items():
        np.testing.assert_allclose(f(z), f(z.astype(np.float32)), atol=1e-6)
        slope = (f(z + 1e-6) - f(z - 1e-6)) / 2e-6
        away = np.abs(z) > 1e-5
        np.testing.assert_allclose(SLOPES[name](z)[away], slope[away], atol=1e-8)
