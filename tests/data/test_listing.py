import os
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from catdog.data.held_out import held_out_photos
from catdog.data.inputs import photos_of
from catdog.data.listing import has_photos, list_photos, photos_below
from catdog.data.remarks import remarks
from catdog.data.splits import find_splits, split, train_and_val
from catdog.errors import CatdogError

MakePhotos = Callable[..., Path]


def test_lists_what_torchvision_lists(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 3, "dog": 4, "a cow": 2})
    ours, theirs = list_photos(root), ImageFolder(str(root))
    assert list(ours.classes) == theirs.classes
    assert [(ours.path(i), label) for i, label in enumerate(ours.labels)] == theirs.samples


def test_hidden_and_other_files_are_left_out_and_nested_ones_taken(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 1, "dog": 1})
    for name in (".DS_Store", "._cat.jpg", "Thumbs.db", "notes.txt", ".trash/x.jpg"):
        (root / "cat" / name).parent.mkdir(exist_ok=True)
        (root / "cat" / name).write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / ".git").mkdir()
    for name in ("deep/er/-dash name.JPG", "new\nline.png", "ünï.webp", "x" * 240 + ".jpeg"):
        (root / "cat" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cat" / name).write_bytes(b"x")
    found = list_photos(root)
    assert found.classes == ("cat", "dog")
    assert set(found.paths) == {
        "cat/cat-000.png",
        "cat/deep/er/-dash name.JPG",
        "cat/new\nline.png",
        "cat/ünï.webp",
        f"cat/{'x' * 240}.jpeg",
        "dog/dog-000.png",
    }


def test_links_to_folders_are_followed_and_loops_end(make_photos: MakePhotos, tmp_path: Path) -> None:
    root = make_photos({"cat": 2, "dog": 2})
    elsewhere = make_photos({"more": 3}, name="elsewhere")
    (root / "cat" / "linked").symlink_to(elsewhere / "more")
    (root / "dog" / "loop").symlink_to(root)
    (root / "dog" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    found = list_photos(root)
    assert dict(zip(found.classes, found.counts(), strict=True))["cat"] == 5
    dogs = [path for path in found.paths if path.startswith("dog")]
    assert dogs == ["dog/dog-000.png", "dog/dog-001.png", "dog/gone.jpg"]  # and no cat by way of the loop


@pytest.fixture
def nested() -> Iterator[Callable[..., Path]]:
    """nested(folder, depth, name="d") -> the innermost of so many folders in each other, made step by step."""
    made = []

    def make(folder: Path, depth: int, name: str = "d") -> Path:
        made.append(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for _ in range(depth):
                os.mkdir(name)
                os.chdir(name)
            return Path(os.getcwd())

    yield make
    for folder in made:  # which is too deep for pytest to remove
        subprocess.run(["rm", "-rf", folder], check=True)


def test_folders_may_be_nested_deeper_than_python_recurses(make_photos: MakePhotos, nested: MakePhotos) -> None:
    root = make_photos({"cat": 1, "dog": 1})
    inside = nested(root / "cat", 1300)
    (inside / "deep.png").write_bytes(b"x")
    assert inside.relative_to(root / "cat").parts == ("d",) * 1300
    assert list_photos(root).paths == ["cat/cat-000.png", f"cat/{'d/' * 1300}deep.png", "dog/dog-000.png"]


def test_a_path_that_the_system_cannot_open_is_one_sentence(make_photos: MakePhotos, nested: MakePhotos) -> None:
    root = make_photos({"cat": 1, "dog": 1})
    nested(root / "cat", 100, "x" * 100)
    with pytest.raises(
        CatdogError, match=r"cannot list the folder .*cat/xxx.*xxx \.\.\.: File name too long; move it further up"
    ) as refused:
        list_photos(root)
    assert len(str(refused.value)) < 400


def test_folders_that_are_all_linked_to_each_other_are_listed_once(make_photos: MakePhotos) -> None:
    names = [f"f{i:02}" for i in range(12)]  # some 12! ways lead through them
    root = make_photos(dict.fromkeys(names, 1))
    for one in names:
        for other in names:
            (root / one / f"to {other}").symlink_to(root / other)
        (root / one / "self.png").symlink_to("self.png")
    (root / names[-1] / "up").symlink_to(root.parent)
    assert len(list(photos_below(root))) == 2 * len(names)
    assert {os.path.basename(path) for path in photos_below(root)} == {"self.png", *(f"{n}-000.png" for n in names)}


def test_the_split_is_stratified_and_adding_photos_moves_none(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 150, "dog": 50})
    train, val = split(list_photos(root), 0.2, seed=3)
    assert set(train.paths).isdisjoint(val.paths)
    assert len(train) + len(val) == 200
    assert 0.1 < val.counts()[0] / 150 < 0.3
    assert 0.06 < val.counts()[1] / 50 < 0.4
    make_photos({"cat": 200, "dog": 40}, first=500)
    more_train, more_val = split(list_photos(root), 0.2, seed=3)
    assert set(train.paths) <= set(more_train.paths)
    assert set(val.paths) <= set(more_val.paths)
    assert set(split(list_photos(root), 0.2, seed=4)[1].paths) != set(more_val.paths)


def test_even_tiny_classes_are_on_both_sides(make_photos: MakePhotos) -> None:
    for seed in range(20):
        train, val = split(list_photos(make_photos({"cat": 2, "dog": 3})), 0.05, seed)
        assert min(train.counts()) >= 1
        assert min(val.counts()) >= 1


@pytest.mark.parametrize(
    ("first", "name"),
    [
        ("train", "val"),
        ("train", "valid"),
        ("train", "validation"),
        ("Train", "VAL"),
        ("training_set", "validation_set"),
        ("Training Set", "dev"),
        ("trn", "Val-Images"),
        ("train2017", "val2017"),
        ("train_folder", "imgs_val"),
    ],
)
def test_train_and_val_folders_are_respected(make_photos: MakePhotos, first: str, name: str) -> None:
    make_photos({"cat": 4, "dog": 4, "fox": 4}, name=f"all/{first}")
    # The validation folder lacks a class in the middle, and must not shift the labels of those after it.
    make_photos({"cat": 1, "fox": 2}, name=f"all/{name}")
    train, val = train_and_val(make_photos({}, name="all"), 0.5, 0)
    assert train.classes == val.classes == ("cat", "dog", "fox")
    assert train.counts() == [4, 4, 4]
    assert val.counts() == [1, 0, 2]


@pytest.mark.parametrize("name", ["test", "Test", "testing", "test_set", "eval"])
def test_a_test_folder_is_kept_from_training_and_evaluated_on(make_photos: MakePhotos, name: str) -> None:
    make_photos({"cat": 9, "dog": 9}, name="all/Training")
    make_photos({"cat": 3, "dog": 2}, name=f"all/{name}", first=20)
    root = make_photos({}, name="all")
    train, val = train_and_val(root, 0.3, 0)
    assert train.root == val.root == root / "Training"
    assert len(train) + len(val) == 18
    assert held_out_photos(root, None).root == root / name
    assert list(remarks(root, train, val)) == [
        f"note: {name}/ is not looked at in training; a share of the photos to train on is kept for validation."
    ]


def test_classes_may_hold_folders_of_the_same_names_if_photos_lie_beside_one(make_photos: MakePhotos) -> None:
    for name in ("cat", "dog"):
        make_photos({"2023": 2, "2024": 2}, name=f"photos/{name}")
    root = make_photos({})
    with pytest.raises(CatdogError, match="all hold the same folders"):
        train_and_val(root, 0.2, 0)
    make_photos({"cat": 1})
    assert train_and_val(root, 0.2, 0)[0].classes == ("cat", "dog")
    make_photos({"train": 3, "trainer": 3, "evaluate": 3}, name="others")  # and words that only begin like a split's
    assert find_splits(make_photos({}, name="others")) == {}


def test_photos_that_are_not_used_are_counted_and_named(make_photos: MakePhotos) -> None:
    make_photos({"diesel": 6, "steam": 6}, name="two words/train")
    root = make_photos({"car": 12, "bus": 12, "plans": 0}, name="two words")
    (root / "plans" / "plan.pdf").touch()
    for name in (
        "train/steam/1.jxl",
        "train/steam/2.JXL",
        "train/diesel/3.CR2",
        "train/diesel/4",
        "loose.jpg",
        "x.txt",
    ):
        (root / name).write_bytes(b"x")
    (root / "train" / "loose.png").write_bytes(b"x")
    train, val = train_and_val(root, 0.2, 0)
    assert train.classes == ("diesel", "steam")
    beside, loose, names = remarks(root, train, val)
    assert (
        beside
        == "warning: 24 photos in bus/, car/ beside train/ are not used; move them into train/<class>/, or elsewhere."
    )
    assert loose.startswith("warning: 2 photos outside any class folder, such as loose.")
    assert names == (
        "warning: 4 files left out as no photos by their names (2 .jxl, 1 .cr2, 1 without an ending); "
        f"catdog data check {shlex.quote(str(root))} lists them."
    )


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["Cat", "cat"], "'Cat' and 'cat'"),
        (["cat", "cat "], "'cat' and 'cat '"),
        (["caf\u00e9", "cafe\u0301"], "'cafe\\u0301' and 'caf\u00e9'"),
        (["big cat", "big\u00a0cat"], "'big cat' and 'big\\xa0cat'"),
        (["big cat", "big_cat"], "'big cat' and 'big_cat'"),
        (["cat", "c\u200bat"], "'cat' and 'c\\u200bat'"),
    ],
)
def test_classes_whose_names_look_alike_are_told_apart(make_photos: MakePhotos, names: list[str], shown: str) -> None:
    root = make_photos(dict.fromkeys(names, 3))
    (line,) = remarks(root, *train_and_val(root, 0.3, 0))
    assert line.startswith(f"warning: the classes {shown} look alike")


def test_classes_may_be_called_like_splits(make_photos: MakePhotos) -> None:
    root = make_photos({"train": 3, "plane": 3})
    assert find_splits(root) == {}
    assert list_photos(root).classes == ("plane", "train")


@pytest.mark.parametrize(
    "folders",
    [
        ["cat/images", "dog/images"],
        ["cat/indoors", "cat/outdoors", "dog/indoors", "dog/beach"],
        ["steam train", "test pilot"],
        ["trainer", "tester"],
    ],
)
def test_ordinary_classes_are_not_taken_for_splits(folders: list[str], tmp_path: Path) -> None:
    for name in folders:
        (tmp_path / name).mkdir(parents=True)
        for i in range(3):
            (tmp_path / name / f"{i}.png").touch()
    assert len(train_and_val(tmp_path, 0.3, 0)[0].classes) == 2


def test_a_class_whose_files_are_all_left_out_by_their_names(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 3, "dog": 0})
    for name in ("1.dng", "2.DNG", "Thumbs.db", "desktop.ini"):
        (root / "dog" / name).touch()
    with pytest.raises(CatdogError, match=r"no photos \(2 files left out as no photos by their names \(2 .dng\), see"):
        train_and_val(root, 0.3, 0)


def test_has_photos(make_photos: MakePhotos, tmp_path: Path) -> None:
    assert not has_photos(tmp_path / "none")
    assert not has_photos(make_photos({"cat": 0}, name="empty"))
    assert has_photos(make_photos({"cat": 1}, name="one"))
    make_photos({"cat": 1}, name="nested/train")
    assert has_photos(tmp_path / "nested")


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ({}, "holds no class folders"),
        ({"cat": 3}, "holds one class only, 'cat'"),
        ({"cat": 3, "dog": 0}, "dog holds no photos"),
        ({"cat": 3, "dog": 1}, "dog holds a single photo"),
        ({"train/cat": 3, "train/dog": 3, "val/cow": 1}, "holds the class 'cow', which"),
        ({"train/cat": 3, "train/dog": 3, "val/cat": 0}, "val holds no photos to validate on"),
        ({"Val/cat": 3, "Val/dog": 1}, "has Val/ but no train/"),
        ({"train/cat": 3, "training/cat": 3}, "holds both train/ and training/, two names for one split"),
        ({"Train/cat": 3, "TRAIN/cat": 3}, "holds both TRAIN/ and Train/, two names for one split"),
        ({"seg_train/cat": 3, "seg_train/dog": 3, "seg_test/cat": 3}, "seg_test/ and seg_train/, which are named like"),
        ({"seg_train/seg_train/cat": 3, "seg_test/seg_test/cat": 3}, "seg_test/ and seg_train/, which are named like"),
        ({"x_train": 3, "x_test": 3}, "holds x_test/ and x_train/, which are named like splits; call them train"),
        (
            {"a/cat": 1, "a/dog": 1, "b/cat": 1, "b/dog": 1, "c/cat": 1},
            "(a, b, c) hold folders of the same names",
        ),
        ({"test/cat": 1, "cat": 1, "dog": 1}, "has test/ but no train/; move cat, dog into"),
        ({"training_set/training_set/cat": 1, "training_set/training_set/dog": 1}, "if cat, dog are the classes, give"),
        ({"train/Cat": 3, "train/dog": 3, "val/cat": 1}, "val/cat to Cat."),
        ({"train": 3, "test1": 3}, "holds test1/ and train/, which are named like splits but hold no class folders"),
        ({"fold1/cat": 3, "fold1/dog": 3, "fold2/cat": 3, "fold2/dog": 3}, "(fold1, fold2) all hold the same folders"),
        ({"PetImages/Cat": 3, "PetImages/Dog": 3}, "if Cat, Dog are the classes, give"),
        ({"train/cat": 1, "train/dog": 1, "val/cat": 1, "valid/cat": 1}, "holds both val/ and valid/"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_one_sentence(
    make_photos: MakePhotos, folders: dict[str, int], said: str
) -> None:
    root = make_photos({})
    for name, count in folders.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            (root / name / f"{i}.png").write_bytes(b"not looked at")
    with pytest.raises(CatdogError) as refused:
        train_and_val(root, 0.2, 0)
    assert said in str(refused.value)
    assert str(root) in str(refused.value)


def test_a_folder_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(CatdogError, match="there is no folder"):
        list_photos(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(CatdogError, match="is a file, not a folder"):
        list_photos(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_without_permission_is_named(make_photos: MakePhotos) -> None:
    root = make_photos({"cat": 1})
    (root / "cat").chmod(0)
    try:
        with pytest.raises(CatdogError, match=r"cannot list the folder .*cat"):
            list(photos_below(root))
    finally:
        (root / "cat").chmod(0o755)


def test_files_of_a_folder_that_are_no_photos_by_their_names_are_counted_on_standard_error(
    make_photos: MakePhotos, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_photos({"cat": 2}, name="two words")
    for name in ("a.jxl", "b.hif", "cat/c.hif", "d.JPG~", "cat/.DS_Store"):
        (root / name).write_bytes(b"x")
    assert [name for name, _ in photos_of([str(root)])] == [str(root / "cat" / f"cat-00{k}.png") for k in range(2)]
    assert capsys.readouterr().err == (
        f"{root}: 4 files left out as no photos by their names (2 .hif, 1 .jxl, 1 .jpg~); "
        f"catdog data check {shlex.quote(str(root))} lists them.\n"
    )
