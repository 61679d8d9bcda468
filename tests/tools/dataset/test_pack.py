"""`catdog data pack`, and everything that reads a folder of photos reading a packed set like it."""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import quiet, save_photo
from drawn_photos import fill
from safetensors.numpy import load_file

from catdog.base import atomic
from catdog.config.settings import Config
from catdog.data.duplicates import exact_copies_across
from catdog.data.inputs import photos_of
from catdog.data.listing import list_photos
from catdog.data.splits import find_splits, train_and_val
from catdog.errors import CatdogError
from catdog.imagefolder import PhotoFolder
from catdog.images.decoder import decode
from catdog.tools.dataset import pack as packing
from catdog.tools.dataset.check import as_json as check_as_json
from catdog.tools.dataset.check import check_dataset
from catdog.tools.dataset.pack import pack
from catdog.tools.dataset.stats import as_json as stats_as_json
from catdog.tools.dataset.stats import measure
from catdog.train import train

ODD = [
    "a.b.jpg",
    "a.png",
    "a.jpg",
    "b.JPG",
    "-dash name.jpg",
    "new\nline.png",
    "猫.webp",
    "__meta__.jpg",
    "x" * 200 + ".jpeg",
]
SMALL = 10**6


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes, and time of the last change, of each file below `folder`."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def in_bytes(folder: Path) -> dict[str, bytes]:
    return {name: data for name, (data, _) in contents(folder).items()}


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Splits of photos whose names WebDataset would take apart, some of which cannot be decoded; one class is empty."""
    root = tmp_path / "photos"
    for split, classes in (("Training Set", ("cat", "dög", "a cow")), ("val", ("cat", "dög"))):
        for hue, label in enumerate(classes):
            for seed, name in enumerate(ODD):
                path = root / split / label / ("deep" if seed % 2 else "") / name
                save_photo(path.with_suffix(path.suffix.lower()), seed=seed + 100 * len(split), hue=hue)
                path.with_suffix(path.suffix.lower()).rename(path)
    (root / "val" / "a cow").mkdir()
    (root / "val" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (root / "val" / "cat" / "empty.jpg").write_bytes(b"")
    (root / "val" / "cat" / "notes.txt").write_text("no photo")
    return root


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of at most 20 kilobytes for each megabyte asked for."""
    monkeypatch.setattr("catdog.tools.dataset.pack._MEGABYTE", 20_000)


def test_the_bytes_of_each_photo_are_in_the_shards_with_its_name_and_class(
    odd: Path, tmp_path: Path, small_shards: None
) -> None:
    before = contents(odd)
    pack(odd, tmp_path / "packed", 1)
    assert contents(odd) == before
    found = {}
    for path in sorted((tmp_path / "packed").glob("*.tar")):
        assert path.stat().st_size <= 20_000
        with tarfile.open(path) as shard:
            members = shard.getmembers()
            for photo, label in zip(members[::2], members[1::2], strict=True):
                assert (photo.uid, photo.gid, photo.mtime, label.mtime) == (0, 0, 0, 0)
                key, dot, ending = photo.name.partition(".")
                assert label.name == f"{key}.json" and dot and ending.isalnum()
                about = json.load(shard.extractfile(label))  # type: ignore[arg-type]
                assert about["class"] == about["name"].split("/")[1] == ["a cow", "cat", "dög"][about["label"]]
                assert path.name.split("-")[0] == {"Training Set": "train", "val": "val"}[about["name"].split("/")[0]]
                found[about["name"]] = shard.extractfile(photo).read()  # type: ignore[union-attr]
    assert found == {name: data for name, data in in_bytes(odd).items() if not name.endswith(".txt")}


def test_the_index_says_where_each_photo_is(odd: Path, tmp_path: Path, small_shards: None) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    shards = json.loads((packed / "shards.json").read_bytes())["shards"]
    assert len(shards) > 2
    for about in shards:
        index = json.loads((packed / about["name"]).with_suffix(".json").read_bytes())
        data = (packed / about["name"]).read_bytes()
        assert len(data) == about["bytes"]
        for name, offset, size in zip(index["names"], index["offsets"], index["sizes"], strict=True):
            assert data[offset : offset + size] == (odd / name).read_bytes()


def test_webdataset_reads_it(odd: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pack(odd, tmp_path / "packed", 1)
    urls = sorted(map(str, (tmp_path / "packed").glob("*.tar")))
    found = {}
    for sample in webdataset.WebDataset(urls, shardshuffle=False).decode():
        (ending,) = {key for key in sample if not key.startswith("__")} - {"json"}
        raw = sample[ending]
        found[sample["json"]["name"]] = raw if isinstance(raw, bytes) else b""
    photos = {name: data for name, data in in_bytes(odd).items() if not name.endswith(".txt")}
    assert found == photos


def test_the_same_photos_elsewhere_make_the_same_bytes(odd: Path, tmp_path: Path, small_shards: None) -> None:
    again = tmp_path / "elsewhere" / "copied"
    for path in sorted(odd.rglob("*"), reverse=True):  # in another order, with other times and modes
        copy = again / path.relative_to(odd)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o600)
            os.utime(copy, (1, 1))
    pack(odd, tmp_path / "one", 1)
    pack(again, tmp_path / "two", 1)
    pack(tmp_path / "one", tmp_path / "three", 1)  # and of a packed set
    assert in_bytes(tmp_path / "one") == in_bytes(tmp_path / "two") == in_bytes(tmp_path / "three")


KILLED_AND_RUN_AGAIN = """
import os, sys
from pathlib import Path
from catdog.tools.dataset import pack as packing

root, out, whole = map(Path, sys.argv[1:])
packing._MEGABYTE = 20_000
packing.pack(root, whole, 1)
fsync, replace, kills = os.fsync, os.replace, 0
for step in range(200):
    child = os.fork()
    if child == 0:
        left = 1 + step % 7

        def killed(call):
            def counted(*arguments):
                global left
                left -= 1
                if not left:
                    os._exit(9)
                return call(*arguments)
            return counted

        os.fsync, os.replace = killed(fsync), killed(replace)
        packing.pack(root, out, 1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
        break
    kills += 1
    if (out / "shards.json").exists():  # killed right after the end
        assert (out / "shards.json").read_bytes() == (whole / "shards.json").read_bytes()
print(kills)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_each_step_and_run_again_it_makes_the_same_bytes(odd: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-c", KILLED_AND_RUN_AGAIN, str(odd), str(out), str(whole)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    assert in_bytes(out) == in_bytes(whole)


def test_whole_shards_are_kept_and_the_others_written_again(odd: Path, tmp_path: Path, small_shards: None) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    before = contents(packed)
    assert "were there, whole" in pack(odd, packed, 1)
    assert contents(packed) == before
    shard = sorted(packed.glob("*.tar"))[1]
    damaged = bytearray(shard.read_bytes())
    damaged[700] ^= 1
    shard.write_bytes(damaged)
    pack(odd, packed, 1)
    after = contents(packed)
    assert {name: data for name, (data, _) in after.items()} == {name: data for name, (data, _) in before.items()}
    assert {name for name in after if after[name][1] != before[name][1]} == {shard.name, "shards.json"}


def test_what_has_changed_is_packed_anew_and_what_is_gone_goes(odd: Path, tmp_path: Path, small_shards: None) -> None:
    pack(odd, tmp_path / "packed", 1)
    shutil.rmtree(odd / "Training Set" / "dög")
    save_photo(odd / "val" / "cat" / "a.jpg", seed=5000)
    pack(odd, tmp_path / "packed", 1)
    pack(odd, tmp_path / "fresh", 1)
    assert in_bytes(tmp_path / "packed") == in_bytes(tmp_path / "fresh")


def test_a_packed_set_is_listed_like_the_folder(odd: Path, tmp_path: Path, small_shards: None) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    assert {split: path.name for split, path in find_splits(packed).items()} == {
        split: path.name for split, path in find_splits(odd).items()
    }
    for split in ("Training Set", "val"):
        ours, theirs = list_photos(packed / split), list_photos(odd / split)
        assert (ours.classes, list(ours.paths), list(ours.labels)) == (
            theirs.classes,
            list(theirs.paths),
            list(theirs.labels),
        )
    for below in ("", "val", "val/cat", "val/cat/deep"):
        names = [[name for name, _ in photos_of([str(root / below)])] for root in (packed, odd)]
        assert names[0] == [name.replace(str(odd), str(packed)) for name in names[1]]
    for photo in ("val/cat/deep/a.png", "Training Set/a cow/a.b.jpg", "Training Set/dög/deep/b.JPG"):
        np.testing.assert_array_equal(decode(packed / photo), decode(odd / photo))


def test_a_photo_folder_of_it_has_the_same_items(tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 4)
    pack(photos, tmp_path / "packed", 1)
    ours, theirs = PhotoFolder(tmp_path / "packed"), PhotoFolder(photos)
    assert ours.classes == theirs.classes and len(ours) == len(theirs) == 8
    for (one, label), (other, other_label) in zip(ours, theirs, strict=True):
        assert torch.equal(one, other) and label == other_label


def test_check_and_stats_say_the_same_of_it(odd: Path, tmp_path: Path, small_shards: None) -> None:
    packed = tmp_path / "packed"
    (odd / "val" / "cat" / "notes.txt").unlink()
    shutil.copy(odd / "val" / "cat" / "a.b.jpg", odd / "Training Set" / "cat" / "copy.jpg")
    pack(odd, packed, 1)
    of_folder, of_set = (json.dumps(check_as_json(check_dataset(root))) for root in (odd, packed))
    assert of_set == of_folder.replace(str(odd), str(packed))
    assert "copies_across_splits" in of_set and "unreadable" in of_set
    of_folder, of_set = (json.dumps(stats_as_json(measure(root, (8, 8)))) for root in (odd, packed))
    assert of_set == of_folder.replace(str(odd), str(packed))


def test_copies_of_training_photos_are_found_in_it(odd: Path, tmp_path: Path) -> None:
    shutil.copy(odd / "val" / "cat" / "a.b.jpg", odd / "Training Set" / "cat" / "copy.jpg")
    pack(odd, tmp_path / "packed", 1)
    root = tmp_path / "packed"
    assert exact_copies_across(list_photos(root / "Training Set"), list_photos(root / "val")) == [
        (str(root / "Training Set/cat/copy.jpg"), str(root / "val/cat/a.b.jpg"))
    ]


@pytest.mark.parametrize("cache", ["auto", "none"])
@pytest.mark.usefixtures("no_curves")
def test_a_training_on_it_gives_the_same_weights(
    cache: str, tmp_path: Path, small_config: Callable[..., Config], small_shards: None
) -> None:
    photos, packed = fill(tmp_path / "photos", 16), tmp_path / "packed"
    (photos / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    pack(photos, packed, 1)
    runs = []
    for root in (photos, packed):
        run = train(small_config(root, out=str(tmp_path / f"run-{root.name}"), cache=cache, epochs=2), log=quiet)
        runs.append(run)
        assert f"{root / 'cat' / 'broken.jpg'}" in (run / "skipped.csv").read_text()
    one, other = (load_file(run / "model.safetensors") for run in runs)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])
    assert (runs[0] / "metrics.csv").read_text().split("\n")[0] == (runs[1] / "metrics.csv").read_text().split("\n")[0]
    states = [torch.load(run / "last.pt", weights_only=True)["model"] for run in runs]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_share_is_set_aside_as_of_the_folder(tmp_path: Path) -> None:
    photos = fill(tmp_path / "photos", 12)
    pack(photos, tmp_path / "packed", 1)
    of_folder, of_set = (train_and_val(root, 0.3, seed=4) for root in (photos, tmp_path / "packed"))
    assert [list(one.paths) for one in of_folder] == [list(one.paths) for one in of_set]


@pytest.mark.parametrize(
    "what", ["cut off", "longer", "missing", "other index", "damaged index", "no index", "damaged set"]
)
def test_a_broken_set_is_one_sentence_that_names_the_file(
    what: str, odd: Path, tmp_path: Path, small_shards: None
) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    shard = packed / "train-000001.tar"
    index = shard.with_suffix(".json")
    named = index
    if what in ("cut off", "longer", "missing"):
        named = shard
    if what == "cut off":
        shard.write_bytes(shard.read_bytes()[:-512])
    elif what == "longer":
        shard.write_bytes(shard.read_bytes() + b"x")
    elif what == "missing":
        shard.unlink()
    elif what == "other index":
        shutil.copy(packed / "train-000000.json", index)
    elif what == "damaged index":
        index.write_bytes(index.read_bytes()[:-9])
    elif what == "no index":
        index.unlink()
    else:
        named = packed / "shards.json"
        named.write_bytes(named.read_bytes()[:-9])
    with pytest.raises(CatdogError, match="copy the packed set again, whole, or pack the photos again") as error:
        list_photos(packed / "Training Set")
    assert str(error.value).startswith(f"{named} ") and str(error.value).count("\n") == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("names", "../../elsewhere.jpg"),
        ("names", "/etc/elsewhere.jpg"),
        ("offsets", -1),
        ("sizes", "many"),
        ("crc32", 2**70),
    ],
)
def test_an_index_that_leads_elsewhere_is_refused(column: str, value: object, odd: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    index_path, set_path = packed / "train-000000.json", packed / "shards.json"
    index = json.loads(index_path.read_bytes())
    index[column][0] = value
    text = json.dumps(index)
    about = set_path.read_text().replace(
        hashlib.sha256(index_path.read_bytes()).hexdigest(), hashlib.sha256(text.encode()).hexdigest()
    )
    index_path.write_text(text)
    set_path.write_text(about)
    with pytest.raises(CatdogError, match=r"train-000000\.json is damaged; copy the packed set again"):
        list_photos(packed / "Training Set")
    set_path.write_text(about.replace("train-000000.tar", "../train-000000.tar"))
    with pytest.raises(CatdogError, match=r"shards\.json is damaged; copy the packed set again"):
        list_photos(packed / "Training Set")


def test_a_changed_byte_is_found_where_the_photo_is_read(odd: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    pack(odd, packed, 1)
    shard = packed / "val-000000.tar"
    data = bytearray(shard.read_bytes())
    photo = (odd / "val" / "cat" / "a.b.jpg").read_bytes()
    data[data.find(photo) + len(photo) - 1] ^= 1
    shard.write_bytes(data)
    path = packed / "val" / "cat" / "a.b.jpg"
    with pytest.raises(CatdogError) as error:
        decode(path)
    assert str(error.value).startswith(f"{path}: its shard is damaged: copy {shard} again")
    decode(packed / "val" / "dög" / "a.b.jpg")


def test_packing_that_did_not_come_to_its_end_is_told(odd: Path, tmp_path: Path) -> None:
    pack(odd, tmp_path / "packed", 1)
    (tmp_path / "packed" / "shards.json").unlink()
    with pytest.raises(CatdogError, match=r"holds shards but no shards\.json"):
        train_and_val(tmp_path / "packed", 0.2, 0)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("photos/packed", "lies in the folder of photos"),
        ("photos", "lies in the folder of photos"),
        ("", "holds photos, which is no part of a packed set"),
        ("file", "cannot make the folder"),
    ],
)
def test_a_place_where_it_would_do_harm_is_refused(out: str, message: str, odd: Path, tmp_path: Path) -> None:
    before = contents(odd)
    (tmp_path / "file").write_text("mine") if out == "file" else None
    with pytest.raises(CatdogError, match=message):
        pack(odd, tmp_path / out, 1)
    assert contents(odd) == before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".notes.tmp", "mine"),
        ("letter.txt", "mine"),
        ("photos-2022.tar", "my archive"),
        ("photos-000007.tar", "of another program"),
        ("photos-000007.json", "{}"),
        ("train-2017.json", '{"annotations": []}'),
        ("shards.json", '{"their": "own"}'),
    ],
)
def test_what_is_no_part_of_a_set_is_never_removed(name: str, text: str, odd: Path, tmp_path: Path) -> None:
    out = tmp_path / "packed"
    pack(odd, out, 1)
    (out / ".train-000000.tar.0123abcd.tmp").write_text("left by a process that was killed")
    (out / name).write_text(text)
    before = contents(out)
    with pytest.raises(CatdogError, match=rf"holds {name}, which is no part of a packed set"):
        pack(odd, out, 1)
    assert contents(out) == before


def test_what_comes_while_it_packs_stays(odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "packed"
    pack(odd, out, 1)

    def write_if_other(path: Path, data: bytes, elsewhere: str) -> None:
        (out / "README.md").write_text("mine")
        atomic.write_if_other(path, data, elsewhere)

    monkeypatch.setattr(packing, "write_if_other", write_if_other)
    pack(odd, out, 1)
    assert (out / "README.md").read_text() == "mine"


def test_a_set_of_other_photos_is_not_replaced(odd: Path, tmp_path: Path) -> None:
    out, others = tmp_path / "packed", fill(tmp_path / "others")
    pack(odd, out, 1)
    before = contents(out)
    with pytest.raises(CatdogError, match=r"holds a packed set of other photos: .* are not in .*others; give another"):
        pack(others, out, 1)
    assert contents(out) == before


def test_a_full_disk_is_not_laid_to_a_photo(odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = packing._ShardWriter
    monkeypatch.setattr(writer, "_write_header", lambda self, name, size: None)
    monkeypatch.setattr(writer, "_write", full)
    with pytest.raises(
        CatdogError,
        match=r"cannot write .*train-000000\.tar: No space left on device.* make room, or give another folder",
    ):
        pack(odd, tmp_path / "packed", 1)


def test_what_cannot_be_packed_is_one_sentence(odd: Path, tmp_path: Path) -> None:
    gone = odd / "val" / "cat" / "gone.jpg"
    gone.symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(CatdogError, match=r"cannot read .*gone\.jpg: No such file or directory; mend or remove it"):
        pack(odd, tmp_path / "packed", 1)
    gone.unlink()
    os.mkfifo(gone)
    with pytest.raises(CatdogError, match=r"gone\.jpg is no ordinary file"):
        pack(odd, tmp_path / "packed", 1)
    shutil.rmtree(odd)
    odd.mkdir()
    with pytest.raises(CatdogError, match="holds no photos in class folders"):
        pack(odd, tmp_path / "packed", 1)
    with pytest.raises(CatdogError, match="--shard-size must be at least 1"):
        pack(odd, tmp_path / "packed", 0)
