"""Tiny archives of the same shape as the real ones, from a server on this machine."""

import hashlib
import io
import re
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from torchvision.datasets import OxfordIIITPet

from catdog.cli.main import main
from catdog.data.drawn import draw
from catdog.data.listing import list_photos
from catdog.errors import CatdogError
from catdog.tools.dataset import download as downloading
from catdog.tools.dataset import fetch as fetching
from catdog.tools.dataset.download import download


class Server:
    """Serves `files` by path. cut: how many bytes of a file to send before the connection breaks, answer by answer."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut: list[int] = []
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                outer.asked.append((self.path, wanted))
                content = outer.files.get(self.path)
                if content is None:
                    return self.send_error(404)
                start = int(wanted[6:-1]) if wanted and outer.ranges else 0
                if start and start >= len(content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start:][: outer.cut.pop(0) if outer.cut else None])

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloading, "PAUSE", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.stop()


def photo(label: str, seed: int) -> bytes:
    data = io.BytesIO()
    draw(label, seed, (40, 50)).save(data, "JPEG")
    return data.getvalue()


def tar_gz(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return data.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


PETS = {  # name -> (its number among the breeds, 1 for cat and 2 for dog, official split)
    "Abyssinian_1": (1, 1, "trainval"),
    "Abyssinian_2": (1, 1, "test"),
    "Sphynx_7": (34, 1, "trainval"),
    "beagle_1": (5, 2, "trainval"),
    "beagle_2": (5, 2, "trainval"),
    "beagle_20": (5, 2, "test"),
    "yorkshire_terrier_3": (37, 2, "test"),
}
PET_PHOTOS = {
    name: photo("cat" if species == 1 else "dog", i) for i, (name, (_, species, _)) in enumerate(PETS.items())
}


@pytest.fixture
def pets(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    lists = {
        f"annotations/{split}.txt": "".join(
            f"{name} {breed} {species} 1\n" for name, (breed, species, where) in PETS.items() if where == split
        ).encode()
        for split in ("trainval", "test")
    }
    server.files = {
        "/images.tar.gz": tar_gz(
            {f"images/{name}.jpg": content for name, content in PET_PHOTOS.items()}
            | {"images/Abyssinian_100.mat": b"x", "images/._Sphynx_7.jpg": b"x", "../images/out.jpg": b"x"},
            links={"images/link.jpg": "/etc/passwd"},
        ),
        "/annotations.tar.gz": tar_gz(
            lists | {"annotations/trimaps/Abyssinian_1.png": b"x", "annotations/README": b"x"}
        ),
    }
    resources = tuple((server.url + path, hashlib.md5(content).hexdigest()) for path, content in server.files.items())
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", resources)
    return server


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pets_are_laid_out_by_their_official_split(pets: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "pets", "photos/pets"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("4 photos to train on and 3 to test with in photos/pets; README.md there says")
    files = contents(Path("photos/pets"))
    about = files.pop("README.md").decode()
    assert "https://creativecommons.org/licenses/by-sa/4.0/" in about
    assert all(md5 in about for _, md5 in OxfordIIITPet._RESOURCES)
    assert files == {
        f"{'train' if split == 'trainval' else 'test'}/{'cat' if species == 1 else 'dog'}/{name}.jpg": PET_PHOTOS[name]
        for name, (_, species, split) in PETS.items()
    }
    assert [path.name for path in Path("photos").iterdir()] == ["pets"]  # no archive is left
    assert main(["data", "check", "photos/pets"]) == 0


def test_the_real_addresses_are_torchvisions() -> None:
    """What the tests above replace: that it is there, and what the archives are known by."""
    assert [url.rsplit("/", 1)[-1] for url, _ in OxfordIIITPet._RESOURCES] == ["images.tar.gz", "annotations.tar.gz"]
    assert all(url.startswith("https://") and len(md5) == 32 for url, md5 in OxfordIIITPet._RESOURCES)
    assert fetching.CATSDOGS.startswith("https://download.microsoft.com/")
    assert len(bytes.fromhex(fetching.CATSDOGS_SHA256)) == 32


CATSDOGS = {f"PetImages/{name.title()}/{i}.jpg": photo(name, i) for name in ("cat", "dog") for i in range(8)} | {
    "PetImages/Cat/666.jpg": b"",
    "PetImages/Dog/11702.jpg": photo("dog", 99)[:300],
}


def serve_catsdogs(server: Server, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> bytes:
    content = zipped(files)
    server.files["/kaggle.zip"] = content
    monkeypatch.setattr(fetching, "CATSDOGS", f"{server.url}/kaggle.zip")
    monkeypatch.setattr(fetching, "CATSDOGS_SHA256", hashlib.sha256(content).hexdigest())
    return content


def test_the_broken_files_of_catsdogs_are_skipped_in_training(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others = {"PetImages/Cat/Thumbs.db": b"x", "readme[1].txt": b"terms", "MSR-LA - 3467.docx": b"licence"}
    serve_catsdogs(server, monkeypatch, CATSDOGS | others)
    Path("photos").mkdir()  # an empty folder will do
    assert main(["data", "fetch", "catsdogs", "photos"]) == 0
    files = contents(Path("photos"))
    assert files.pop("readme[1].txt") == b"terms"
    assert files.pop("MSR-LA - 3467.docx") == b"licence"
    assert hashlib.sha256(server.files["/kaggle.zip"]).hexdigest() in files.pop("README.md").decode()
    assert files == {name.removeprefix("PetImages/").lower(): content for name, content in CATSDOGS.items()}

    assert main(["data", "check", "photos"]) == 1
    assert (
        main(["train", "--data", "photos", "--out", "run", "--epochs", "1", "--hidden", "8", "--max-skipped", "0.2"])
        == 0
    )
    skipped = (Path("run") / "skipped.csv").read_text()
    assert "cat/666.jpg" in skipped and "dog/11702.jpg" in skipped
    assert "skipped 2 photos" in capsys.readouterr().out


def test_names_in_an_archive_lead_nowhere_else(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hostile = {
        name: b"hostile"
        for name in (
            "../out.jpg",
            "PetImages/Cat/../../../out.jpg",
            "/tmp/out.jpg",
            "PetImages/Cat/..\\..\\out.jpg",
            "PetImages/Cat/sub/1.jpg",
            "../readme.txt",
            "PetImages/Cat/1.jpg\n",
        )
    }
    serve_catsdogs(server, monkeypatch, hostile | CATSDOGS)
    fetching.fetch("catsdogs", tmp_path / "in" / "photos")
    assert b"hostile" not in contents(tmp_path).values()
    assert len(list_photos(tmp_path / "in" / "photos")) == len(CATSDOGS)


@pytest.mark.parametrize(("bound", "value"), [("LARGEST_FILE", 400), ("LARGEST_ALL", 5000), ("MOST_FILES", 17)])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    serve_catsdogs(server, monkeypatch, CATSDOGS)
    monkeypatch.setattr(fetching, bound, value)
    with pytest.raises(CatdogError, match=r"kaggle.zip unpacks to far more"):
        fetching.fetch("catsdogs", Path("photos"))
    assert not Path("photos").exists()


def damaged_zip() -> bytes:
    content = bytearray(zipped(CATSDOGS))
    content[200:260] = bytes(60)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (damaged_zip(), "kaggle.zip is damaged"),
        (b"no archive", "kaggle.zip is damaged"),
        (zipped({"PetImages/Cat/1.jpg": b"x"}), "not laid out as it used to be"),
        (zipped({"other/1.jpg": b"x"}), "not laid out as it used to be"),
    ],
)
def test_another_archive_than_expected_is_one_sentence(
    server: Server, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_catsdogs(server, monkeypatch, {})
    server.files["/kaggle.zip"] = content
    monkeypatch.setattr(fetching, "CATSDOGS_SHA256", hashlib.sha256(content).hexdigest())
    assert main(["data", "fetch", "catsdogs", "photos"]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == [".photos.download"]
    assert [path.name for path in Path(".photos.download").iterdir()] == ["kaggle.zip"]


def test_pets_without_their_lists_are_one_sentence(pets: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tar_gz({"annotations/trainval.txt": b"Abyssinian_9 1 1 1\n", "annotations/test.txt": b""})
    pets.files["/annotations.tar.gz"] = content
    (images, (url, _)) = OxfordIIITPet._RESOURCES
    monkeypatch.setattr(OxfordIIITPet, "_RESOURCES", (images, (url, hashlib.md5(content).hexdigest())))
    with pytest.raises(CatdogError, match="not laid out as they used to be"):
        fetching.fetch("pets", Path("pets"))
    assert not Path("pets").exists()


CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_connection_that_breaks_is_taken_up_again(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = CONTENT
    server.cut = [300_000, 0, 0, 1, 400_000]
    download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert contents(tmp_path) == {"file": CONTENT}
    assert [wanted for _, wanted in server.asked] == [
        None,
        *["bytes=300000-"] * 3,
        "bytes=300001-",
        "bytes=700001-",
    ]


def test_an_interrupted_download_goes_on_in_the_next_call(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = CONTENT
    server.cut = [500_000, 0, 0, 0]
    with pytest.raises(CatdogError, match=r"keeps breaking off .* 500,000 bytes are kept"):
        download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert contents(tmp_path) == {"file.part": CONTENT[:500_000]}
    download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert contents(tmp_path) == {"file": CONTENT}
    assert server.asked[-1] == ("/file", "bytes=500000-")
    download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert len(server.asked) == 5  # what is whole is not fetched again


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    server.files["/file"], server.ranges, server.cut = CONTENT, False, [500_000]
    download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert contents(tmp_path) == {"file": CONTENT}


def test_a_part_that_is_all_of_it_is_taken(server: Server, tmp_path: Path) -> None:
    server.files["/file"] = CONTENT
    (tmp_path / "file.part").write_bytes(CONTENT)
    download(f"{server.url}/file", tmp_path / "file", "sha256", SHA256)
    assert contents(tmp_path) == {"file": CONTENT}


def test_a_connection_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT", 0.1)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(CatdogError, match="cannot reach"):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/file", tmp_path / "file", "sha256", SHA256)


def fetch_fails(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on a failure, which leaves no folder."""
    assert main(["data", "fetch", name, "photos"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"catdog: [^\n]*\.\n", printed.err)
    assert not Path("photos").exists()
    return printed.err


def test_a_wrong_checksum_lays_out_nothing(
    pets: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = pets.files["/images.tar.gz"]
    pets.files["/images.tar.gz"] = right[:100] + b"?" + right[101:]
    assert "came with a wrong md5 checksum and was removed" in fetch_fails("pets", capsys)
    assert list(Path().iterdir()) == []
    pets.files["/images.tar.gz"] = right
    assert main(["data", "fetch", "pets", "photos"]) == 0


def test_a_fetch_that_was_cut_off_goes_on_where_it_was(pets: Server, capsys: pytest.CaptureFixture[str]) -> None:
    pets.cut = [1000, 0, 0, 0]
    assert "keeps breaking off" in fetch_fails("pets", capsys)
    assert list(contents(Path())) == [".photos.download/images.tar.gz.part"]
    assert main(["data", "fetch", "pets", "photos"]) == 0
    assert pets.asked[4:] == [("/images.tar.gz", "bytes=1000-"), ("/annotations.tar.gz", None)]
    assert len(list_photos("photos/train")) == 4


def test_without_a_network_it_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve_catsdogs(server, monkeypatch, CATSDOGS)
    server.stop()
    said = fetch_fails("catsdogs", capsys)
    assert "cannot reach http://127.0.0.1" in said
    assert "check the network connection" in said
    monkeypatch.setattr(fetching, "CATSDOGS", "http://nowhere.invalid/x.zip")
    assert "cannot reach http://nowhere.invalid/x.zip" in fetch_fails("catsdogs", capsys)
    assert list(Path().iterdir()) == []


def test_a_file_that_is_gone_from_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    serve_catsdogs(server, monkeypatch, CATSDOGS)
    server.files.clear()
    with pytest.raises(CatdogError, match="the server says 404 Not Found"):
        fetching.fetch("catsdogs", Path("photos"))


def test_a_folder_that_holds_something_is_left_alone(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    Path("photos/mine.jpg").touch()
    assert main(["data", "fetch", "pets", "photos"]) == 2
    assert "exists and is not an empty folder" in capsys.readouterr().err
    assert server.asked == []
    assert [path.name for path in Path("photos").iterdir()] == ["mine.jpg"]
