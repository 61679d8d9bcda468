"""Photos that are uploaded: kept in memory within limits, seen as the network sees them, refused with a sentence."""

import io
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from catdog.architecture import Resize
from catdog.checkpoint.model_file import MODEL_FILE, save_model
from catdog.checkpoint.saved_model import load_model
from catdog.errors import ImageError
from catdog.images.decoder import decode
from catdog.predict import Classifier
from catdog.server.photos import Photos
from catdog.server.requests import RequestError


def upload(ask: httpx.Client, photo: Path) -> str:
    (found,) = ask.post("/api/photos", params={"name": photo.name}, content=photo.read_bytes()).json()["photos"]
    assert (found["name"], found["width"], found["height"]) == ("tom.jpg", 320, 240)
    return str(found["id"])


def pixels_of(response: httpx.Response) -> np.ndarray:
    assert response.headers["content-type"].startswith("image/") and response.status_code == 200
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_a_photo_is_seen_as_the_network_sees_it(ask: httpx.Client, photo: Path, place: Path) -> None:
    key = upload(ask, photo)
    for run in ("small", "cats-dogs"):
        network = Classifier.load(place / "runs" / "small") if run == "small" else Classifier.load("cats-dogs")
        seen = pixels_of(ask.get(f"/api/photos/{key}/seen", params={"run": run}))
        assert np.array_equal(seen.transpose(2, 0, 1), network.decode(photo))


@pytest.mark.parametrize("way", ["crop", "pad"])
def test_a_photo_keeps_its_shape_where_the_network_saw_such(
    ask: httpx.Client, photo: Path, place: Path, way: Resize
) -> None:
    tensors, card = load_model(place / "runs" / "small" / MODEL_FILE)
    run = place / "runs" / way
    run.mkdir()
    save_model(run / MODEL_FILE, tensors, replace(card, resize=way))
    ask.get("/api/networks")  # lists it
    network = Classifier.load(run)
    seen = pixels_of(ask.get(f"/api/photos/{upload(ask, photo)}/seen", params={"run": way}))
    assert np.array_equal(seen.transpose(2, 0, 1), network.decode(photo))
    (answer,) = ask.post("/api/predict", params={"run": way}, content=photo.read_bytes()).json()["answers"]
    assert answer["probabilities"] == pytest.approx(network.predict(photo).probabilities)
    shutil.rmtree(run)


def test_a_photo_is_shown_upright_and_no_larger_than_asked_for(ask: httpx.Client, tmp_path: Path) -> None:
    turned = Image.new("RGB", (40, 20), "red")
    turned.getexif()[0x0112] = 6
    turned.save(tmp_path / "turned.tiff", exif=turned.getexif())
    data = (tmp_path / "turned.tiff").read_bytes()
    (found,) = ask.post("/api/photos", content=data).json()["photos"]
    assert (found["width"], found["height"]) == (20, 40)
    assert pixels_of(ask.get(f"/api/photos/{found['id']}")).shape == (40, 20, 3)
    assert pixels_of(ask.get(f"/api/photos/{found['id']}?side=16")).shape == (16, 8, 3)


def test_several_photos_come_in_a_form_and_each_has_its_own_answer(ask: httpx.Client, photo: Path) -> None:
    files = [("a", (photo.name, photo.read_bytes())), ("b", ("broken.jpg", photo.read_bytes()[:500]))]
    whole, broken = ask.post("/api/photos", files=files).json()["photos"]
    assert whole["width"] == 320
    assert broken["name"] == "broken.jpg" and "cut off" in broken["error"]


def png_of(width: int, height: int) -> bytes:
    """A PNG of zeros, small as a file, however large as a picture."""
    image = io.BytesIO()
    Image.new("1", (8, 8)).save(image, "PNG")
    data = bytearray(image.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "the file is empty"),
        (b"<html><body>no photo</body></html>", "a web page"),
        (png_of(60_000, 60_000), "too large, 60000 x 60000 pixels"),
        (b"\x00" * 1000, "nothing but zeros"),
    ],
)
def test_what_is_no_photo_is_refused_with_a_sentence(ask: httpx.Client, data: bytes, sentence: str) -> None:
    found = ask.post("/api/photos", content=data)
    assert found.status_code == 400
    assert sentence in found.json()["photos"][0]["error"]


def test_the_least_recently_used_photos_go_first(photo: Path) -> None:
    data = photo.read_bytes()
    kept = Photos(most_bytes=3 * len(data), most=10)
    first, second, third = (kept.add(f"{i}.jpg", data)[0] for i in range(3))
    kept.get(first)
    fourth, _ = kept.add("4.jpg", data)
    assert [kept.get(key).name for key in (first, third, fourth)] == ["0.jpg", "2.jpg", "4.jpg"]
    with pytest.raises(RequestError, match="upload it again"):
        kept.get(second)
    with pytest.raises(ImageError):
        kept.add("broken.jpg", data[:500])
    few = Photos(most=2)
    keys = [few.add("a.jpg", data)[0] for _ in range(3)]
    assert few.get(keys[2]) and few.get(keys[1])
    with pytest.raises(RequestError):
        few.get(keys[0])


def test_a_drawing_is_a_photo_like_others(ask: httpx.Client) -> None:
    (found,) = ask.post("/api/photos/drawn", json={"label": "dog", "seed": 3}).json()["photos"]
    again = ask.post("/api/photos/drawn", json={"label": "dog", "seed": 3}).json()["photos"][0]
    other = ask.post("/api/photos/drawn", json={"label": "cat", "seed": 3}).json()["photos"][0]
    shown, same, cat = (pixels_of(ask.get(f"/api/photos/{one['id']}")) for one in (found, again, other))
    assert np.array_equal(shown, same) and not np.array_equal(shown, cat)
    assert decode(ask.get(f"/api/photos/{found['id']}").content).shape == (384, 384, 3)
    assert "one of cat, dog" in ask.post("/api/photos/drawn", json={"label": "../x"}).json()["error"]
