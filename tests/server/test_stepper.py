"""Steps on one photo: their numbers against `catdog explain`'s text and torch's SGD, and the way back."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_explain import random_run, torch_loss, torch_twin

from catdog.errors import CatdogError
from catdog.predict import Classifier
from catdog.server import stepper as module
from catdog.server.stepper import Stepper, Steppers, neuron_as_json
from catdog.tools.explain.backprop import Network
from catdog.tools.explain.explanation import explain
from catdog.tools.explain.words import as_text, number, signed, times

LOCAL = {"image_size": (16, 20), "local": (4, 5), "hidden": (), "activation": "relu", "batch_norm": True}
NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {},
    "batch norm": {"batch_norm": True, "activation": "tanh"},
    "svm": {"loss": "svm", "activation": "relu"},
    "local": {**LOCAL, "hidden": (6,)},
    "residual": {**LOCAL, "shared": True, "blocks": [1, 1], "pool": True},
    "all scales": {**LOCAL, "shared": True, "blocks": [1, 0], "pool_all": True},
}


def begun(folder: Path, photo: Path, label: str | None = "dog", **changes: Any) -> Stepper:
    classifier = Classifier.load(random_run(folder / "run", **changes))
    return Stepper(classifier, Network.of(classifier), classifier.decode(photo), label)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_all_numbers_are_those_that_explain_prints(tmp_path: Path, photo: Path, changes: dict[str, Any]) -> None:
    stepper = begun(tmp_path, photo, **changes)
    e = explain(stepper.now.classifier, str(photo), str(photo), "dog", checks=False)
    text, state = as_text(e), stepper.state()
    assert state["final"] == list(e.final) and state["rate"] == e.rate and f"lr = {e.rate:g}, a" in text
    assert f"{'loss ' * (e.loss.kind == 'svm')}L = " in text and f"= {number(state['loss'])}" in text
    for name, logit in zip(state["classes"], state["logits"], strict=True):
        assert f"{name} {number(logit)}" in text
    for link in state["chain"]:
        if link["kind"] == "mean":
            continue
        neuron = stepper.neuron(link["layer"], link["unit"])
        for term in neuron["terms"][:3]:
            assert f"w*x = {times(term['w'], term['x'])} = {number(term['product'])}  ({term['name']})" in text
        assert f"{number(abs(neuron['bias']))} = {number(neuron['sum'])}" in text
        together = sum(term["product"] for term in neuron["terms"]) + neuron["others_sum"] + neuron["bias"]
        assert together == pytest.approx(neuron["sum"], abs=1e-9)
        if link["activation"] != "none":
            assert f"{link['activation']}({number(link['normed'])}) = {number(link['out'])}" in text
            assert f"= {times(link['out_gradient'], link['slope'])} = {number(link['normed_gradient'])}" in text
        if "norm" in link:
            assert f"= {times(link['normed_gradient'], link['norm']['slope'])} = {number(link['sum_gradient'])}" in text
    first, last = state["chain"][0], state["chain"][-1]
    here = f"* x = {times(first['sum_gradient'], first['x'])} = {number(first['w_gradient_here'])}"
    assert here in text and number(first["w_gradient"]) in text
    for link in (first, last):
        moved = link["w"] - e.rate * link["w_gradient"]
        assert f"w' = {link['w']:.7g} - {number(e.rate)} * {signed(link['w_gradient'])} = {moved:.7g}" in text
    stepper.step(state["rate"])
    assert f"loss: {number(state['loss'])} -> {number(stepper.state()['loss'])}\n" in text
    assert stepper.state()["logits"] == list(e.steps[0].logits)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_five_steps_are_those_of_torch(tmp_path: Path, photo: Path, changes: dict[str, Any]) -> None:
    stepper = begun(tmp_path, photo, **changes)
    model, criterion = torch_twin(stepper.now.classifier), torch_loss(stepper.now.loss)
    x = torch.from_numpy(stepper.now.x.reshape(1, 3, *stepper.now.pixels.shape[1:]))
    rates = [0.003, 0.003, 0.01, 0.001, 0.002]
    for rate in rates:
        model.zero_grad()
        criterion(model(x), torch.tensor([1])).backward()
        torch.optim.SGD(model.parameters(), lr=rate).step()
        stepper.step(rate)
        np.testing.assert_allclose(stepper.now.logits, model(x)[0].detach().numpy(), rtol=1e-8)
    assert stepper.state()["curve"][0][0] != stepper.now.loss_value


@pytest.mark.parametrize("kept", [0, 2**28])
@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_the_way_back_leads_over_exactly_the_same_numbers(
    tmp_path: Path, photo: Path, changes: dict[str, Any], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT_BYTES", kept)
    stepper = begun(tmp_path, photo, **changes)
    states = [stepper.state()]
    for _ in range(6):
        stepper.step(0.003)
        states.append(stepper.state())
    for step in (5, 4, 1):
        stepper.go_to(step)
        assert stepper.state() == states[step]
    stepper.step(0.003)
    assert stepper.state() == states[2]
    stepper.go_to(0)
    assert stepper.state() == states[0]
    stepper.step(0.003, times=3)
    assert stepper.state() == states[3]


def test_steps_leave_the_network_of_others_alone(tmp_path: Path, photo: Path) -> None:
    classifier = Classifier.load(random_run(tmp_path / "run", **NETWORKS["residual"]))
    network, before = Network.of(classifier), classifier.predict(photo)
    others = [Stepper(classifier, network, classifier.decode(photo), label) for label in ("cat", "dog")]
    others[0].step(0.01, times=3)
    assert others[1].state() == Stepper(classifier, network, classifier.decode(photo), "dog").state()
    assert classifier.predict(photo) == before


def test_steps_that_are_too_long_are_refused_and_leave_the_last_numbers(tmp_path: Path, photo: Path) -> None:
    stepper = begun(tmp_path, photo, activation="relu")
    stepper.step(0.01)
    before = stepper.state()
    with pytest.raises(CatdogError, match=r"1e\+200.*smaller"):
        stepper.step(1e200, times=50)
    stepper.go_to(1)
    assert stepper.state() == before
    with pytest.raises(CatdogError, match="10,000"):
        stepper.step(0.01, times=10_000)


@pytest.mark.parametrize("changes", [NETWORKS["dense"], NETWORKS["residual"]], ids=["dense", "residual"])
def test_a_chosen_path_is_one_way_through_the_network(tmp_path: Path, photo: Path, changes: dict[str, Any]) -> None:
    stepper = begun(tmp_path, photo, **changes)
    for layer in range(len(stepper.now.network.layers)):
        other = stepper.state()["chain"][layer]["choices"][-1]["input"]
        above = stepper.state()["chain"][layer + 1 :]
        stepper.choose(layer, other)
        chain = stepper.state()["chain"]
        assert chain[layer]["input"] == other and chain[layer + 1 :] == above
        for below, link in pairwise(chain):
            assert below["unit"] == link["input"] and below["out"] == link["x"]
            assert below["out_gradient"] == link["x_gradient"]
        assert chain[layer]["w_start"] == chain[layer]["w"]
    before = [link["w"] for link in stepper.state()["chain"]]
    stepper.step(0.003)
    assert [link["w_start"] for link in stepper.state()["chain"]] == before
    with pytest.raises(CatdogError, match="no such"):
        stepper.choose(0, 10**6)
    if changes:
        seen = stepper.now.network.layers[1].row(stepper.now.path[1])
        with pytest.raises(CatdogError, match="does not see"):
            stepper.choose(1, int(np.flatnonzero(seen == 0)[0]))


def test_the_window_of_a_neuron_holds_all_that_it_sees(tmp_path: Path, photo: Path) -> None:
    now = begun(tmp_path, photo, **NETWORKS["residual"]).now
    for i, layer in enumerate(now.network.layers[:6]):
        for unit in (0, layer.units // 2, layer.units - 1):
            top, left, bottom, right = neuron_as_json(now, i, unit)["window"]
            (height, width), channels = ((16, 20), 3) if i == 0 else ((8, 10), 4) if i < 4 else ((4, 5), 5)
            seen = np.flatnonzero(layer.row(unit))
            places = seen % (height * width) if i == 0 else seen // channels
            rows, columns = np.divmod(places, width)
            assert (top, left, bottom, right) == (rows.min(), columns.min(), rows.max(), columns.max())


def test_what_was_used_longest_ago_is_forgotten(tmp_path: Path, photo: Path) -> None:
    steppers, one = Steppers(most=2), begun(tmp_path, photo)
    steppers.add("a", one)
    steppers.add("b", one)
    assert steppers.get("a") is one
    steppers.add("c", one)
    assert [steppers.get(key) is one for key in "abc"] == [True, False, True]


@pytest.mark.parametrize("changes", [NETWORKS["dense"], NETWORKS["residual"]], ids=["dense", "residual"])
def test_the_change_of_the_first_weights_is_drawn_beside_them(
    tmp_path: Path, photo: Path, changes: dict[str, Any]
) -> None:
    stepper = begun(tmp_path, photo, **changes)
    unit = stepper.now.path[0]
    x = stepper.now.x.reshape(3, *stepper.now.pixels.shape[1:])
    first = stepper.template(unit)
    assert first["before"] == first["now"] and len(first["now"]) == 3 * first["height"] * first["width"]
    stepper.step(0.003)
    found = stepper.template(unit)
    assert found["before"] == first["before"]
    row = stepper.now.network.layers[0].row(unit)
    assert sum(found["now"]) == pytest.approx(row.sum())
    if not changes:  # of a dense layer the change is the photo, times a number
        change = np.array(found["now"]) - found["before"]
        assert abs(np.corrcoef(change, x.reshape(-1))[0, 1]) > 1 - 1e-9
    with pytest.raises(CatdogError, match="no such"):
        stepper.template(10**6)


@pytest.mark.parametrize("changes", [NETWORKS["local"], NETWORKS["residual"]], ids=["local", "residual"])
def test_the_gradient_of_an_input_is_the_sum_over_all_that_read_it(
    tmp_path: Path, photo: Path, changes: dict[str, Any]
) -> None:
    now = (stepper := begun(tmp_path, photo, **changes)).now
    for link in stepper.state()["chain"]:
        i, j = link["layer"], link["input"]
        shares = now.network.layers[i].column(j) * now.gradients[i].sum
        assert link["x_gradient"] == pytest.approx(shares.sum() + link.get("skip_gradient", 0), rel=1e-9, abs=1e-15)
        assert np.count_nonzero(now.network.layers[i].column(j)) == link["readers"]


def test_what_the_mean_over_all_grids_passes_on_is_told_and_no_path_goes_past_layers(
    tmp_path: Path, photo: Path
) -> None:
    stepper = begun(tmp_path, photo, **NETWORKS["all scales"])
    layers, gradients = stepper.now.network.layers, stepper.now.gradients
    (branching,) = (link for link in stepper.state()["chain"] if "branch_gradient" in link)
    i, j = branching["layer"], branching["input"]
    through_the_layer = float(layers[i].column(j) @ gradients[i].sum)
    assert through_the_layer + branching["branch_gradient"] == pytest.approx(branching["x_gradient"], rel=1e-9)
    classifier = len(layers) - 1
    last_grid = stepper.now.classifier.card.architecture.local[-1]
    assert all(choice["input"] < last_grid for choice in stepper.state()["chain"][-1]["choices"])
    with pytest.raises(CatdogError, match="choose one that is drawn"):
        stepper.choose(classifier, last_grid)
    stepper.choose(classifier, last_grid - 1)
