import os
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from catdog.checkpoint.model_file import PREVIOUS_FILE, STATE_FILE
from catdog.checkpoint.saved_state import DamagedError, load_newest_state, load_state
from catdog.checkpoint.training_state import save_state
from catdog.errors import CatdogError

STATE = {"format_version": 1, "model": {"w": torch.arange(500.0)}, "progress": {"history": [{"a": 1.5}]}}


def state(number: int) -> dict[str, Any]:
    return {**STATE, "number": number}


def test_a_state_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", STATE)
    found = load_state(tmp_path / "last.pt")
    assert torch.equal(found["model"]["w"], STATE["model"]["w"])  # type: ignore[index]
    assert found["progress"] == STATE["progress"]


def test_other_programs_can_read_it(tmp_path: Path) -> None:
    save_state(tmp_path / "last.pt", STATE)
    assert torch.load(tmp_path / "last.pt", weights_only=True)["progress"] == STATE["progress"]
    with zipfile.ZipFile(tmp_path / "last.pt") as archive:
        assert archive.testzip() is None


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    """One bit of each byte of the file, whatever that byte is for."""
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    whole = bytearray(path.read_bytes())
    load_state(path)
    with open(path, "r+b", buffering=0) as file:
        for at, byte in enumerate(whole):
            os.pwrite(file.fileno(), bytes([byte ^ (1 << at % 8)]), at)
            with pytest.raises(DamagedError, match="not a whole checkpoint: its checksum is wrong"):
                load_state(path)
            os.pwrite(file.fileno(), bytes([byte]), at)
    load_state(path)


def test_a_torn_file_is_noticed_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_state(path, STATE)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        with pytest.raises(DamagedError):
            load_state(path)


class _Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("harm-was-done", "w"))


class _Large:
    """A few bytes that torch.load, with weights_only, makes a terabyte of."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (bytearray, (2**40,))


def claims_to_be_large() -> torch.Tensor:
    return torch.zeros(1).expand(2**20, 2**20)


# What a file may hold that has a right checksum all the same: somebody made it.
HOSTILE = {
    "a call": {"format_version": 1, "x": _Harmful()},
    "a large array of bytes": {"format_version": 1, "x": _Large()},
    "a tensor larger than the file": {"format_version": 1, "x": claims_to_be_large()},
    "a sparse tensor": {"format_version": 1, "x": torch.eye(3).to_sparse()},
    "another version": {"format_version": 2},
    "a version that is a tensor": {"format_version": torch.zeros(3)},
    "no version": {},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_state_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "last.pt"
    save_state(path, HOSTILE[kind])  # type: ignore[arg-type]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CatdogError, match="is not a checkpoint of catdog") as refused:
        load_state(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not isinstance(refused.value, DamagedError)
    assert not Path("harm-was-done").exists()


def test_a_file_without_our_checksum_and_a_zip_bomb_are_refused(tmp_path: Path) -> None:
    from test_fuzz import with_checksum

    path = tmp_path / "last.pt"
    torch.save(STATE, path)
    with pytest.raises(DamagedError):
        load_state(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    path.write_bytes(with_checksum(path.read_bytes()))
    with pytest.raises(CatdogError, match="compressed"):
        load_state(path)


def test_the_checkpoint_before_is_kept_under_its_own_name(tmp_path: Path) -> None:
    last, previous = tmp_path / STATE_FILE, tmp_path / PREVIOUS_FILE
    save_state(last, state(1), previous)
    assert not previous.exists()
    save_state(last, state(2), previous)
    save_state(last, state(3), previous)
    save_state(last, state(4))  # and with no name to keep it under the third is given up
    assert (load_state(last)["number"], load_state(previous)["number"]) == (4, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE_FILE, PREVIOUS_FILE]


def test_one_file_with_both_names_leaves_nothing_behind(tmp_path: Path) -> None:
    """As a kill between the two renames leaves it."""
    last, previous = tmp_path / STATE_FILE, tmp_path / PREVIOUS_FILE
    save_state(last, state(1))
    os.link(last, previous)
    save_state(last, state(2), previous)
    assert (load_state(last)["number"], load_state(previous)["number"]) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [STATE_FILE, PREVIOUS_FILE]


def test_where_a_file_has_one_name_only_the_checkpoint_before_is_kept_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*arguments: Any, **options: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    last, previous = tmp_path / STATE_FILE, tmp_path / PREVIOUS_FILE
    save_state(last, state(1), previous)
    save_state(last, state(2), previous)
    assert (load_state(last)["number"], load_state(previous)["number"]) == (2, 1)


@pytest.mark.parametrize("damage", ["cut short", "a bit flipped", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    last, previous = tmp_path / STATE_FILE, tmp_path / PREVIOUS_FILE
    save_state(last, state(1))
    assert load_newest_state(tmp_path)[1] == ""
    save_state(last, state(2), previous)
    spoil(last, damage)
    found, said = load_newest_state(tmp_path)
    assert found["number"] == 1
    assert "last.pt is missing or damaged, so this goes on from the checkpoint before it." in said
    # It is the last one now, so that no later checkpoint can put the damaged one in its place.
    assert load_state(last)["number"] == 1
    save_state(last, state(3), previous)
    assert (load_state(last)["number"], load_state(previous)["number"]) == (3, 1)
    spoil(last, damage)
    spoil(previous, damage)
    with pytest.raises(CatdogError, match=r"last\.pt"):
        load_newest_state(tmp_path)


def spoil(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    if damage == "cut short":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "a bit flipped":
        at = whole.index(np.float32(123).tobytes())
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    else:
        path.unlink()


def test_an_unknown_version_is_not_taken_for_damage(tmp_path: Path) -> None:
    """A newer catdog wrote it; going back to the one before would lose work."""
    save_state(tmp_path / STATE_FILE, state(1))
    save_state(tmp_path / STATE_FILE, {**state(2), "format_version": 2}, tmp_path / PREVIOUS_FILE)
    with pytest.raises(CatdogError, match="format version 2"):
        load_newest_state(tmp_path)
