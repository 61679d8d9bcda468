"""Folders that several processes make, rename and remove at the same time."""

import os
from pathlib import Path

import pytest

from catdog.base import work_folder
from catdog.base.locks import lock, unlock
from catdog.base.work_folder import make_and_lock, remove_abandoned


def test_a_folder_that_goes_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    mkdir = os.mkdir

    def mkdir_too_late(path: str, mode: int = 0o777) -> None:
        try:
            mkdir(path, mode)
        except FileExistsError:
            os.rename(path, tmp_path / "finished")  # by the process that had it
            raise

    monkeypatch.setattr(os, "mkdir", mkdir_too_late)
    handle = make_and_lock(folder)
    assert folder.is_dir() and (tmp_path / "finished").is_dir()
    unlock(handle)


@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
def test_what_is_no_folder_is_not_waited_for(tmp_path: Path, what: str) -> None:
    path = tmp_path / "folder"
    if what == "a file":
        path.write_text("kept")
    else:
        path.symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError):
        make_and_lock(path)
    assert os.path.lexists(path)


@pytest.mark.skipif(os.name != "posix", reason="no locks of folders")
def test_a_folder_made_anew_is_not_taken_for_the_abandoned_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".writing-1"
    folder.mkdir()

    def lock_the_old_one(path: Path, wait: bool = False) -> int | None:
        handle = lock(path, wait)
        if path == folder:
            folder.rename(tmp_path / "finished")
            folder.mkdir()
            (folder / "work").write_text("of another process")
        return handle

    monkeypatch.setattr(work_folder, "lock", lock_the_old_one)
    remove_abandoned(tmp_path, ".writing-")
    assert (folder / "work").is_file() and (tmp_path / "finished").is_dir()
