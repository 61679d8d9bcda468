"""Thousands of damaged and made-up files of both kinds: each is a file that loads, or one sentence."""

import contextlib
import io
import json
import random
import resource
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision  # noqa: F401 (which must not be loaded within the limit on memory)
from safetensors.numpy import save

from catdog.architecture import Architecture
from catdog.checkpoint.model_card import ModelCard
from catdog.checkpoint.model_file import save_model
from catdog.checkpoint.saved_model import expected_shapes, load_model
from catdog.checkpoint.saved_state import load_state
from catdog.checkpoint.training_state import save_state
from catdog.errors import CatdogError

pytestmark = pytest.mark.slow
CARD = ModelCard(
    architecture=Architecture((2, 3), (3,), "relu"),
    classes=("cat", "dog"),
    mean=(120.0, 110.0, 100.0),
    std=(60.0, 61.0, 62.0),
    resize_filter="bilinear",
    average_mirrored=True,
    loss="softmax",
    temperature=1.5,
    mean_colours=((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
    train_counts=(10, 12),
    validation={"accuracy": 0.75, "loss": 0.5, "photos": 8, "epoch": 3},
    familiarity=(2, 3),
)
ARRAYS = {
    name: np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for name, shape in expected_shapes(CARD).items()
}
STATE = {
    "format_version": 1,
    "config": "[training]\nepochs = 3\n",
    "classes": ["cat", "dog"],
    "progress": {"epoch": 1, "step": 0, "history": [{"epoch": 1, "val_loss": 0.5}]},
    "model": {"w": torch.arange(20.0).reshape(4, 5), "b": torch.arange(4.0)},
}
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**60, 2**63, 2**64 - 1]


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """A quarter of a gigabyte more than there is now, for the whole test: what asks for much fails."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """`data` with one to four changes: bits, bytes, numbers; pieces cut out or doubled; cut short or made longer."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        length = rng.choice([1, 2, 4, 8, rng.randrange(1, 200)])
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            size, number = rng.choice([("<B", 1), ("<H", 2), ("<I", 4), ("<Q", 8)]), rng.choice(NUMBERS)
            changed[at : at + size[1]] = struct.pack("<Q", number)[: size[1]]
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            del changed[at:]
        else:
            changed += rng.randbytes(length)
        if not changed:
            break
    return bytes(changed)


def load_or_one_sentence(load: Any, path: Path) -> bool:
    """Whether the file loads; anything but that and one sentence is a failure of the test."""
    try:
        load(path)
        return True
    except CatdogError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        assert len(str(error)) < 800
        return False


def test_a_model_is_read_as_it_was_saved_or_refused(tmp_path: Path) -> None:
    """Whatever is changed in the file, what loads is the network that was saved."""
    path, rng = tmp_path / "model.safetensors", random.Random(1)
    save_model(path, ARRAYS, CARD)
    whole = path.read_bytes()
    loaded = 0
    for _ in range(2000):
        path.write_bytes(mutated(whole, rng))
        if load_or_one_sentence(load_model, path):
            loaded += 1
            arrays, card = load_model(path)
            assert card == CARD
            assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert loaded < 200  # some changes are none: a byte in place of itself


def test_any_bit_of_a_model_may_flip(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, ARRAYS, CARD)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        with contextlib.suppress(CatdogError):
            arrays, card = load_model(path)
            assert card == CARD
            assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


VALUES: list[Any] = [
    None, True, 0, -1, 1, 2, 2**31, 2**70, 10**400, 0.0, -1.5, 1e308, float("nan"), float("inf"),
    "", "x", "../x", "a/b", "\0", "\ud800", [], [[]], {}, [1], [1, 2], [2**30, 2**30], [0, 0], ["cat"], ["cat", "cat"],
    [1.0, 2.0, 3.0], [None] * 3, {"a": 1}, {"": {}}, [[1.0, 2.0, 3.0]] * 5, [10] * 2000,
]  # fmt: skip


def test_any_field_of_a_models_header_may_hold_anything(tmp_path: Path) -> None:
    """With a checksum that is right, as whoever makes a file would give it."""
    from catdog.checkpoint.model_file import checksum_of

    path = tmp_path / "model.safetensors"
    about = {"format_version": 1, **json.loads(json.dumps(asdict(CARD)))}
    places = [(name, None) for name in about] + [("architecture", name) for name in about["architecture"]]
    places += [("validation", name) for name in about["validation"]]
    cases = 0
    for name, below in places:
        for value in [*VALUES, "missing"]:
            changed = json.loads(json.dumps(about))
            where, key = (changed, name) if below is None else (changed[name], below)
            if value == "missing":
                del where[key]
            else:
                where[key] = value
            text = json.dumps(changed, sort_keys=True)
            changed["crc32"] = checksum_of(text, ARRAYS)
            path.write_bytes(save(ARRAYS, metadata={"catdog": json.dumps(changed)}))
            load_or_one_sentence(load_model, path)
            cases += 1
    assert cases > 700


def test_arrays_that_overlap_leave_holes_or_claim_to_be_huge(tmp_path: Path) -> None:
    """The header of safetensors itself, made by hand: every pair of offsets, many shapes and types."""
    path, rng = tmp_path / "model.safetensors", random.Random(2)
    save_model(path, ARRAYS, CARD)
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header, data = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    names = sorted(ARRAYS)
    for case in range(1000):
        changed = json.loads(json.dumps(header))
        entry = changed[rng.choice(names)]
        kind = case % 6
        if kind == 0:
            entry["data_offsets"] = changed[rng.choice(names)]["data_offsets"]
        elif kind == 1:
            entry["data_offsets"] = [rng.choice([*NUMBERS, 4, 8, 12, len(data)]) for _ in range(2)]
        elif kind == 2:
            entry["shape"] = [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
        elif kind == 3:
            entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I8", "BOOL", "F8_E4M3", "x", ""])
        elif kind == 4:
            entry["shape"], entry["data_offsets"] = [2**40], [0, 2**42]
        else:
            entry[rng.choice(["dtype", "shape", "data_offsets", "more"])] = rng.choice(VALUES[:10])
        text = json.dumps(changed).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data + b"\0" * rng.choice([0, 0, 0, 4]))
        if load_or_one_sentence(load_model, path):
            arrays, _ = load_model(path)
            assert all(np.array_equal(arrays[name], ARRAYS[name]) for name in ARRAYS)


def with_checksum(archive: bytes) -> bytes:
    """A zip archive without a comment, with the comment that a checkpoint has."""
    comment = f"catdog crc32 {zlib.crc32(archive):08x}".encode()
    return archive[:-2] + struct.pack("<H", len(comment)) + comment


def test_a_state_is_read_as_it_was_saved_or_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "last.pt", random.Random(3)
    save_state(path, STATE)
    whole = path.read_bytes()
    for _ in range(1500):
        path.write_bytes(mutated(whole, rng))
        if load_or_one_sentence(load_state, path):
            assert path.read_bytes() == whole


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
def test_a_made_up_state_is_one_sentence(tmp_path: Path) -> None:
    """Archives whose pickle, or any other byte, is changed, with a right checksum: what torch.load gets to see."""
    path, rng = tmp_path / "last.pt", random.Random(4)
    plain = io.BytesIO()
    torch.save(STATE, plain)
    archive = plain.getvalue()
    with zipfile.ZipFile(io.BytesIO(archive)) as stored:
        parts = {entry.filename: stored.read(entry) for entry in stored.infolist()}
    pickled = next(name for name in parts if name.endswith("data.pkl"))
    loaded = 0
    for case in range(2000):
        if case % 3 == 0:
            changed = mutated(archive, rng)
        else:
            again = io.BytesIO()
            with zipfile.ZipFile(again, "w") as made:
                for name, content in parts.items():
                    made.writestr(name, mutated(content, rng) if name == pickled or rng.random() < 0.1 else content)
            changed = again.getvalue()
        path.write_bytes(with_checksum(changed))
        loaded += load_or_one_sentence(load_state, path)
    assert 0 < loaded < 1000
