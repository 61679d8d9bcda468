"""The exports answer as `predict` does: random networks of every kind, in ONNX Runtime and torch.export programs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import networks
import numpy as np
import pytest
import torch
from PIL import Image

from catdog.architecture import RESIZES, Architecture, Resize
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import MODEL_FILE, save_model
from catdog.cli.main import main
from catdog.familiarity import familiarity_shapes, feature_count
from catdog.images.geometry import finish, jpeg_divisor
from catdog.model.torchvision import TorchvisionModel
from catdog.predict import Classifier

SIZE = (20, 24)
SHAPES = {
    "linear": Architecture(SIZE, (), "relu"),
    "dense": Architecture(SIZE, (9, 7), "gelu", batch_norm=True),
    "local": Architecture(SIZE, (6,), "tanh", batch_norm=True, local=(5, 3)),
    "shared": Architecture(SIZE, (), "relu", batch_norm=True, local=(6, 5), shared=True, blocks=(1, 1), pool=True),
    "local blocks": Architecture(SIZE, (5,), "sigmoid", local=(3,), blocks=(1,), field=3),
    "all scales": Architecture(SIZE, (7,), "relu", True, local=(3, 4), shared=True, pool=True, pool_all=True),
}


def write(
    folder: Path, shape: Architecture, storage: str = "float32", mirrored: bool = True, resize: Resize = "squash"
) -> Path:
    """A model file of a random network with familiarity."""
    if shape.is_mlp:
        tensors = networks.arrays_of(networks.network(shape))
    else:
        torch.manual_seed(0)
        state = TorchvisionModel(shape.model, shape.image_size, 3).state_dict()
        tensors = {n: t.numpy().copy() for n, t in state.items() if not n.endswith("num_batches_tracked")}
    rng = np.random.default_rng(0)
    for name, of in familiarity_shapes(feature_count(shape), 2, 11).items():
        tensors[name] = rng.uniform(0.5, 1, of).astype(np.float32)
    tensors["familiarity.distances"] = np.linspace(0, 50, 11, dtype=np.float32)
    card = ModelCard(
        architecture=shape,
        classes=("cat", "dog", "龙 <b>"),
        mean=(120.0, 110.0, 100.0),
        std=(60.0, 61.0, 62.0),
        resize=resize,
        resize_filter="bilinear",
        average_mirrored=mirrored,
        loss="softmax",
        temperature=1.3,
        storage=storage,
        trained_on="photos in somewhere",
        familiarity=(2, 11),
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / MODEL_FILE, tensors, card)
    return folder


def photos(count: int, height: int, width: int) -> Any:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)


def expected(run: Path, seen: Any) -> tuple[Any, Any]:
    """`predict`'s probabilities and familiarity. seen: N x 3 x H x W."""
    answers = Classifier.load(run).answers(np.ascontiguousarray(seen))
    return np.array([list(a.probabilities.values()) for a in answers]), np.array([a.familiarity for a in answers])


def export(run: Path, kind: str, out: Path, *more: str) -> Path:
    assert main(["export", "--run", str(run), "--format", kind, "--out", str(out), *more]) == 0
    return out


def check(run: Path, found: Any, seen: Any) -> None:
    probabilities, familiarity = expected(run, seen)
    np.testing.assert_allclose(found[0], probabilities, atol=1e-5)
    np.testing.assert_allclose(found[1], familiarity, atol=1e-4)
    assert np.ptp(probabilities, axis=0).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_programs_and_graphs_of_mlps_answer_as_predict_does(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'catdog[export]'")
    run = write(tmp_path / "run", SHAPES[name], mirrored=name != "dense")
    x = photos(4, *SIZE)
    program = torch.export.load(export(run, "torch", tmp_path / "a.pt2")).module()
    check(run, [part.numpy() for part in program(torch.from_numpy(x))], x.transpose(0, 3, 1, 2))
    session = onnxruntime.InferenceSession(export(run, "onnx", tmp_path / "a.onnx"))
    check(run, session.run(None, {"photos": x}), x.transpose(0, 3, 1, 2))


@pytest.mark.slow
def test_quantized_and_torchvision_networks_answer_as_predict_does(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'catdog[export]'")
    shape = Architecture((64, 64), (), "relu", model="squeezenet1_1")
    for run in (write(tmp_path / "int8", SHAPES["shared"], "int8"), write(tmp_path / "vision", shape)):
        x = photos(2, *Classifier.load(run).card.architecture.image_size)
        session = onnxruntime.InferenceSession(export(run, "onnx", tmp_path / "a.onnx"))
        probabilities, familiarity = expected(run, x.transpose(0, 3, 1, 2))
        found = session.run(None, {"photos": x})
        np.testing.assert_allclose(found[0], probabilities, atol=1e-5)
        np.testing.assert_allclose(found[1], familiarity, atol=1e-4)


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize(
    "size", [(20, 24), (1, 1), (7, 90), (7, 800), (39, 47), (31, 200), (90, 30), (85, 101), (333, 200)]
)
def test_whole_photos_are_resized_as_catdog_does_after_the_mean_of_blocks(
    size: tuple[int, int], resize: Resize
) -> None:
    from catdog.tools.export.network import Seen

    x = photos(1, *size)
    divisor = jpeg_divisor(size, 1, SIZE, resize)
    height, width = (-(-side // divisor) for side in size)
    padded = np.pad(x[0], [(0, height * divisor - size[0]), (0, width * divisor - size[1]), (0, 0)], "edge")
    small = padded.reshape(height, divisor, width, divisor, 3).mean(axis=(1, 3))
    image = Image.fromarray(np.floor(small + 0.5).astype(np.uint8))
    ours = finish(image, size, divisor, 1, SIZE, resize)[0].transpose(2, 0, 1)
    off = np.abs(Seen(*SIZE, resize)(torch.from_numpy(x))[0].numpy() - ours)
    most = 0.25 if size[0] > 2 * size[1] else 0.05  # Pillow resizes tall photos down first
    assert off.max() <= 1 and (divisor > 1 or (off > 0).mean() < most)


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["crop", "pad"])
def test_photos_that_keep_their_shape_are_answered_as_predict_does(resize: Resize, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'catdog[export]'")
    run = write(tmp_path / "run", SHAPES["shared"], resize=resize)
    program = torch.export.load(export(run, "torch", tmp_path / "a.pt2")).module()
    session = onnxruntime.InferenceSession(export(run, "onnx", tmp_path / "a.onnx"))
    for size in ((20, 24), (39, 12), (9, 47), (37, 41)):  # not so large that a JPEG of them is reduced
        x = photos(1, *size)
        png = tmp_path / "photo.png"
        Image.fromarray(x[0]).save(png)
        answer = Classifier.load(run).predict(png)
        for found in (session.run(None, {"photos": x}), program(torch.from_numpy(x))):
            np.testing.assert_allclose(np.asarray(found[0][0]), list(answer.probabilities.values()), atol=0.01)


@pytest.mark.slow
def test_a_graph_takes_photos_of_any_size_and_says_what_it_is(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'catdog[export]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'catdog[export]'")
    run = write(tmp_path / "run", SHAPES["shared"])
    path = export(run, "onnx", tmp_path / "new" / "a.onnx", "--unsure-below", "0.6")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    about = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(about["classes"]) == ["cat", "dog", "龙 <b>"]
    assert about["trained_on"] == "photos in somewhere" and float(about["unsure_below"]) == 0.6
    session = onnxruntime.InferenceSession(path)
    assert session.get_inputs()[0].shape == ["N", "H", "W", 3]
    classifier = Classifier.load(run)
    for size in ((1, 1), (15, 50), (39, 30)):  # not so large that a JPEG of them is reduced
        x = photos(1, *size)
        png = tmp_path / "photo.png"
        Image.fromarray(x[0]).save(png)
        found = session.run(None, {"photos": x})[0][0]
        np.testing.assert_allclose(found, list(classifier.predict(png).probabilities.values()), atol=0.01)


@pytest.mark.slow
def test_a_program_loads_without_catdog(tmp_path: Path) -> None:
    run = write(tmp_path / "run", SHAPES["local"])
    path = export(run, "torch", tmp_path / "a.pt2")
    code = (
        "import sys; sys.modules['catdog'] = None\n"
        "import torch\n"
        "extra = {'catdog.json': ''}\n"
        f"program = torch.export.load({str(path)!r}, extra_files=extra).module()\n"
        "print(extra['catdog.json'])\n"
        "print(program(torch.zeros(1, 50, 70, 3, dtype=torch.uint8))[0].sum().item())\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    about, total = found.stdout.splitlines()
    assert json.loads(about)["image_size"] == list(SIZE) and float(total) == pytest.approx(1)


@pytest.mark.parametrize("name", ["photo.jpg", "model.safetensors", "page.html"])
def test_a_name_of_another_kind_is_refused_and_its_file_stays(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert main(["export", "--run", "cats-dogs", "--format", "onnx", "--out", str(tmp_path / name)]) == 2
    assert f"{name} must end in .onnx; give another name." in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_what_cannot_be_exported_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write(tmp_path / "vision", Architecture((64, 64), (), "relu", model="squeezenet1_1"))
    assert main(["export", "--run", str(run), "--format", "html"]) == 2
    assert "squeezenet1_1; give --format onnx." in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "--run", "cats-dogs", "--format", "onnx", "--out", str(tmp_path / "a.onnx")]) == 2
    assert "the extra [export] of catdog: pip install" in capsys.readouterr().err
    assert main(["export", "--run", "cats-dogs", "--format", "html", "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["vision"]  # nothing half written
