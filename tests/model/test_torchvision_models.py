"""torchvision's networks through the same training, files and prediction."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import in_one_and_in_two_parts, quiet, save_photo

from catdog.checkpoint.model_file import MODEL_FILE
from catdog.checkpoint.saved_model import expected_shapes, load_model
from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.config.toml import load_config
from catdog.errors import CatdogError
from catdog.model.torchvision import TorchvisionModel, pretrained_mean_std, state_shapes
from catdog.predict import Classifier
from catdog.train import train

pytestmark = pytest.mark.usefixtures("no_curves")
MakePhotos = Callable[..., Path]
MakeConfig = Callable[..., Config]
SMALL = "squeezenet1_1"
NORMED = "mobilenet_v3_small"  # with batch normalization and dropout, and a fifth of the weights of resnet18


@pytest.fixture
def config(make_photos: MakePhotos, small_config: MakeConfig) -> Config:
    photos = make_photos({"cat": 12, "dog": 12})
    return small_config(photos, model=NORMED, hidden=(1024, 1024, 1024), image_size=(32, 40), epochs=2)


def test_it_computes_what_torchvisions_own_network_does() -> None:
    torch.manual_seed(0)
    ours = TorchvisionModel("resnet18", (32, 40), 3).eval()
    same = torchvision.models.resnet18(num_classes=3).eval()
    same.load_state_dict(ours.network.state_dict())
    images = torch.randn(2, 3, 32, 40)
    assert torch.equal(ours(images), same(images))
    assert f"{sum(p.numel() for p in same.parameters()):,}" in ours.describe()


def test_what_is_kept_for_the_backward_pass_is_what_its_layers_give() -> None:
    ours = TorchvisionModel(SMALL, (64, 64), 2).eval()
    counted, found = ours.activation_numbers(), 0

    def count(module: Any, inputs: Any, output: torch.Tensor) -> None:
        nonlocal found
        found += output.numel()

    for module in ours.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    ours(torch.zeros(1, 3, 64, 64))
    assert counted == found


@pytest.mark.slow
def test_predicts_what_the_trainer_measured_and_reads_with_torch_alone(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from catdog.data.held_out import held_out_photos
    from catdog.data.pixel_cache import decode_all
    from catdog.trainer import loop as trainer

    logits: list[np.ndarray] = []
    evaluate = trainer.Trainer.evaluate

    def kept(self: Any, photos: Any) -> Any:
        labels, found = evaluate(self, photos)
        logits.append(found)
        return labels, found

    monkeypatch.setattr(trainer.Trainer, "evaluate", kept)
    run = train(config, log=quiet)
    classifier = Classifier.load(run)
    photos = held_out_photos(Path(config.photos.data), config)
    found = classifier.logits(decode_all(photos, (32, 40)).pixels)
    np.testing.assert_allclose(found, logits[int(classifier.card.validation["epoch"]) - 1], atol=1e-4)
    assert main(["evaluate", "--run", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == classifier.card.validation["accuracy"]
    for command in (["explain", "--run", str(run)], ["doctor", "--run", str(run)]):
        assert main(command) == 2
        assert NORMED in capsys.readouterr().err


@pytest.mark.slow
def test_a_stopped_training_goes_on_exactly(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = in_one_and_in_two_parts(config, 1, tmp_path, monkeypatch)
    assert (part / MODEL_FILE).read_bytes() == (whole / MODEL_FILE).read_bytes()


@pytest.mark.slow
def test_a_file_of_an_unknown_network_is_refused(config: Config, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    run = train(replace(config, training=replace(config.training, epochs=1)), log=quiet)
    tensors, card = load_model(run / MODEL_FILE)
    assert {name: array.shape for name, array in tensors.items()} == expected_shapes(card)
    with safe_open(run / MODEL_FILE, framework="numpy") as file:
        about = json.loads(file.metadata()["catdog"])
    about["architecture"]["model"] = "resnet19"
    save_file(tensors, tmp_path / "m.safetensors", {"catdog": json.dumps(about)})
    with pytest.raises(CatdogError, match="resnet19"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"model": "resnet19"}, "did you mean .*resnet18"),
        ({"model": "fcn_resnet50"}, "neither mlp nor a classifier"),
        pytest.param(
            {"model": "inception_v3", "image_size": [299, 299]}, "more than one output", marks=pytest.mark.slow
        ),
        pytest.param({"model": "vit_b_16"}, "does not take photos of 24 x 24 pixels", marks=pytest.mark.slow),
    ],
)
def test_networks_that_cannot_be_are_refused_before_anything_is_written(
    make_photos: MakePhotos, tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    data = make_photos({"cat": 5, "dog": 5})
    with pytest.raises(CatdogError, match=message):
        train(load_config(None, {"data": str(data), "out": str(tmp_path / "run"), **flags}), log=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags", [{"pretrained": True}, {"model": "resnet18", "hidden": [5]}, {"model": "resnet18", "optimizer": "muon"}]
)
def test_settings_without_meaning_are_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(CatdogError, match="leave"):
        load_config(None, flags)


@pytest.fixture
def weights_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A small server that gives the pretrained weights of `SMALL`, as long as its dictionary holds them."""
    files: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    torch.manual_seed(1)
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.get_model(SMALL).state_dict(), path)
    name = f"/{SMALL}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"
    files[name] = path.read_bytes()
    member = torchvision.models.get_model_weights(SMALL).DEFAULT
    value = replace(member.value, url=f"http://127.0.0.1:{server.server_port}{name}")
    monkeypatch.setattr(member, "_value_", value)
    yield files
    server.shutdown()
    thread.join()
    server.server_close()


def test_pretrained_weights_are_downloaded_and_used(
    make_photos: MakePhotos, small_config: MakeConfig, weights_server: dict[str, bytes], tmp_path: Path
) -> None:
    config = small_config(
        make_photos({"cat": 8, "dog": 8}),
        model=SMALL,
        pretrained=True,
        hidden=(1024, 1024, 1024),
        image_size=(32, 32),
        epochs=1,
        learning_rate=1e-12,
        weight_decay=0.0,
    )
    run = train(config, log=quiet)
    tensors, card = load_model(run / MODEL_FILE)
    expected = torch.load(tmp_path / "weights.pth")
    np.testing.assert_allclose(tensors["network.features.0.weight"], expected["features.0.weight"].numpy(), atol=1e-6)
    assert tensors["network.classifier.1.weight"].shape == (2, 512, 1, 1)
    assert (card.mean, card.std) == pretrained_mean_std(SMALL)
    np.testing.assert_allclose(card.mean, [255 * m for m in (0.485, 0.456, 0.406)])


def test_without_a_home_weights_are_downloaded_and_none_is_made_here(
    weights_server: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where neither HOME nor the passwd file has one
    here = sorted(Path().rglob("*"))
    network = TorchvisionModel(SMALL, (32, 32), 2, pretrained=True).network
    expected = torch.load(tmp_path / "weights.pth")["features.0.weight"]
    assert torch.equal(network.state_dict()["features.0.weight"], expected)
    assert sorted(Path().rglob("*")) == here


def test_weights_that_cannot_be_had_are_one_sentence(
    make_photos: MakePhotos, weights_server: dict[str, bytes], tmp_path: Path
) -> None:
    weights_server.clear()
    data = make_photos({"cat": 5, "dog": 5})
    flags = {"data": str(data), "out": str(tmp_path / "run"), "model": SMALL, "pretrained": True}
    with pytest.raises(CatdogError, match=r"cannot be had .*404"):
        train(load_config(None, flags), log=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_v3_small",
        "squeezenet1_1",
        "vgg11",
        pytest.param("efficientnet_b0", marks=pytest.mark.slow),
        pytest.param("densenet121", marks=pytest.mark.slow),
    ],
)
def test_the_last_layer_of_many_kinds_is_replaced(name: str) -> None:
    from catdog.model.torchvision import _replace_head

    with torch.device("meta"):
        network = torchvision.models.get_model(name)
        _replace_head(network, 2)
        assert network.eval()(torch.empty(1, 3, 64, 64)).shape == (1, 2)
    found = {f"network.{key}": tuple(t.shape) for key, t in network.state_dict().items()}
    wanted = state_shapes(name, (64, 64), 2)
    assert {key: shape for key, shape in found.items() if not key.endswith("num_batches_tracked")} == wanted


def test_an_mlp_is_read_and_run_without_torchvision(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 1)
    code = (
        "import sys; from catdog.cli.main import main; main(['predict', 'photo.png']); "
        "print({'torch', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
