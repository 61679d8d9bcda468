import json
import os
import struct
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from catdog.architecture import Architecture
from catdog.base.atomic import write_atomic
from catdog.checkpoint.class_names import refused_names, require_names
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import save_model
from catdog.checkpoint.saved_model import HEADER_LIMIT, expected_shapes, load_model
from catdog.data.listing import Listing
from catdog.errors import CatdogError
from catdog.model.mlp import MLP

CARD = ModelCard(
    architecture=Architecture((4, 6), (5, 3), "relu", batch_norm=True, dropout=0.1),
    classes=("cat", "Hündin"),
    mean=(120.0, 110.0, 100.0),
    std=(60.0, 61.0, 62.0),
    resize_filter="bilinear",
    average_mirrored=True,
    loss="softmax",
    temperature=1.5,
    mean_colours=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    train_counts=(10, 12),
    validation={"accuracy": 0.75, "loss": 0.5, "photos": 8, "epoch": 3},
)


def tensors(card: ModelCard = CARD) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in expected_shapes(card).items()}


def header(**changes: Any) -> dict[str, str]:
    about = {"format_version": 1, **asdict(CARD), **changes}
    checksum = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for _, array in sorted(tensors().items()):
        checksum = zlib.crc32(array.tobytes(), checksum)
    return {"catdog": json.dumps({**about, "crc32": f"{checksum:08x}"})}


def test_a_model_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    save_model(tmp_path / "m", tensors(), CARD)
    found, card = load_model(tmp_path / "m")
    assert card == CARD
    assert found.keys() == tensors().keys()
    assert all(np.array_equal(found[name], array) for name, array in tensors().items())


NAMES = st.one_of(st.text(min_size=1, max_size=260), st.binary(min_size=1, max_size=260).map(os.fsdecode))


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.one_of(NAMES, st.sampled_from(["a\\b", "..", " ", "\n", "\x1f", "\ud800"])), min_size=2, unique=True
    )
)
def test_what_training_accepts_as_classes_reads_back_and_what_it_refuses_does_not(
    tmp_path: Path, names: list[str]
) -> None:
    card = replace(CARD, classes=tuple(names), architecture=Architecture((1, 1), (), "relu", False, 0.0))
    save_model(tmp_path / "m", tensors(card), card)
    listing = Listing(Path("photos"), card.classes, [os.path.join(name, "1.jpg") for name in names], range(len(names)))
    try:
        require_names(listing)
    except CatdogError as refused:
        assert "cannot be the name of a class" in str(refused) and str(refused).count("\n") == 0
        with pytest.raises(CatdogError, match="cannot be the name of a class"):
            load_model(tmp_path / "m")
    else:
        assert load_model(tmp_path / "m")[1] == card


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["x", "猫", "\udcff"])
def test_ten_thousand_classes_of_the_longest_names_read_back_or_are_refused(tmp_path: Path, letter: str) -> None:
    long = letter * ((255 - 5) // len(os.fsencode(letter)))
    names = tuple(f"{k:05}{long}" for k in range(10_000))
    assert max(len(os.fsencode(name)) for name in names) <= 255
    card = replace(
        CARD,
        classes=names,
        architecture=Architecture((1, 1), (), "relu", False, 0.0),
        mean_colours=((255 / 7, 254 / 7, 253 / 7),) * len(names),
        train_counts=(10**9,) * len(names),
    )
    save_model(tmp_path / "m", tensors(card), card)
    assert not list(refused_names(names))
    assert load_model(tmp_path / "m")[1] == card
    (too_many,) = refused_names(tuple(f"{k:x}{name[:-1]}" for k in range(16) for name in names))
    assert "160,000 classes are together too long for a model file" in too_many


def test_a_class_whose_name_is_not_text_is_kept_too(tmp_path: Path) -> None:
    """Names of folders are bytes; Python gives those that are not UTF-8 as lone surrogates."""
    card = replace(CARD, classes=("cat", b"d\xff".decode("utf-8", "surrogateescape")))
    save_model(tmp_path / "m", tensors(), card)
    assert load_model(tmp_path / "m")[1] == card


def test_expected_shapes_are_those_of_the_network() -> None:
    for batch_norm in (False, True):
        card = replace(CARD, architecture=replace(CARD.architecture, batch_norm=batch_norm))
        state = MLP((4, 6), 2, (5, 3), "relu", batch_norm).state_dict()
        shapes = {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}
        assert expected_shapes(card) == shapes


def whole_file(metadata: dict[str, str] | None, arrays: dict[str, np.ndarray] | None = None) -> bytes:
    return save(arrays if arrays is not None else tensors(), metadata=metadata)


def deep_json() -> str:
    return "[" * 100_000


HOSTILE = {
    "empty": lambda: b"",
    "text": lambda: b"this is not a model at all, it is a text",
    "pickle": lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    "header length of 2^60": lambda: struct.pack("<Q", 2**60) + b"{}",
    "header length of 2^64 - 1": lambda: b"\xff" * 8 + b"{}",
    "cut short": lambda: whole_file(header())[:-10],
    "longer than it says": lambda: whole_file(header()) + b"more",
    "no metadata": lambda: whole_file(None),
    "another program's": lambda: whole_file({"format": "pt"}),
    "metadata is not JSON": lambda: whole_file({"catdog": "{"}),
    "metadata is deep": lambda: whole_file({"catdog": deep_json()}),
    "metadata is a list": lambda: whole_file({"catdog": "[]"}),
    "metadata is enormous": lambda: whole_file({**header(), "x": "y" * HEADER_LIMIT}),
    "unknown version": lambda: whole_file(header(format_version=99)),
    "a path as a class": lambda: whole_file(header(classes=["cat", "../../etc"])),
    "a class twice": lambda: whole_file(header(classes=["cat", "cat"])),
    "one class": lambda: whole_file(header(classes=["cat"])),
    "a class that is a number": lambda: whole_file(header(classes=["cat", 3])),
    "no deviation": lambda: whole_file(header(std=[0, 1, 1])),
    "temperature is not a number": lambda: whole_file(header(temperature=float("nan"))),
    "an unknown activation": lambda: whole_file(header(architecture={**vars(CARD.architecture), "activation": "os"})),
    "a huge picture": lambda: whole_file(
        header(architecture={**vars(CARD.architecture), "image_size": [2**30, 2**30]})
    ),
    "a negative width": lambda: whole_file(header(architecture={**vars(CARD.architecture), "hidden": [-5, 3]})),
    "an array is missing": lambda: whole_file(header(), {k: v for k, v in tensors().items() if k != "classifier.bias"}),
    "an array too many": lambda: whole_file(header(), {**tensors(), "more": np.zeros(3, np.float32)}),
    "a shape that does not fit": lambda: whole_file(
        header(), {**tensors(), "classifier.bias": np.zeros(3, np.float32)}
    ),
    "another type": lambda: whole_file(header(), {**tensors(), "classifier.bias": np.zeros(2, np.float64)}),
    "a wrong checksum": lambda: whole_file(header(), {**tensors(), "classifier.bias": np.zeros(2, np.float32)}),
    "no checksum": lambda: whole_file({"catdog": json.dumps({"format_version": 1, **asdict(CARD)})}),
    "weights that are not numbers": lambda: whole_file(
        header(), {**tensors(), "classifier.bias": np.array([1, np.nan], np.float32)}
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_model_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(HOSTILE[kind]())
    with pytest.raises(CatdogError) as refused:
        load_model(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def test_a_hostile_model_that_is_whole_otherwise_would_load(tmp_path: Path) -> None:
    """The cases above are refused for what is wrong with each, not for how they are made."""
    (tmp_path / "m").write_bytes(whole_file(header()))
    assert load_model(tmp_path / "m")[1] == CARD


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CatdogError, match="cannot read the model"):
        load_model(tmp_path / "none")
    with pytest.raises(CatdogError, match="cannot read the model"):
        load_model(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, lambda file: file.write(b"old"))

    def fail(file: Any) -> None:
        file.write(b"half of the new")
        raise OSError(28, "No space left on device")

    with pytest.raises(
        CatdogError, match=r"cannot write .*file: No space left on device; what was saved before is whole"
    ):
        write_atomic(path, fail)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
