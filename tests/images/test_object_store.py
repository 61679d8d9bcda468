"""A packed set in a real S3-compatible server on this machine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import quiet
from drawn_photos import fill
from safetensors.numpy import load_file

from catdog.cli.main import main
from catdog.config.settings import Config
from catdog.data import remote
from catdog.images import address
from catdog.images import packed as reading
from catdog.tools.dataset.pack import pack
from catdog.train import train

moto = pytest.importorskip("moto.server", reason="the S3 server is moto's: pip install 'moto[server]' s3fs")
pytest.importorskip("s3fs", reason="s3fs reads S3: pip install s3fs")


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a packed set in a bucket; its folder of photos is tmp_path / "photos"."""
    import boto3
    import fsspec

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(address, "_DELAY", 0.01)
    for cached in (remote._mirror, reading.open_set):
        cached.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setattr("catdog.tools.dataset.pack._MEGABYTE", 30_000)
    pack(fill(tmp_path / "photos", 24), tmp_path / "packed", 1)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for path in (tmp_path / "packed").iterdir():
        client.upload_file(str(path), "bucket", f"my/packed/{path.name}")
    yield "s3://bucket/my/packed"
    server.stop()


@pytest.mark.slow
@pytest.mark.usefixtures("no_curves")
def test_a_training_from_a_bucket_gives_the_weights_of_one_from_the_folder(
    bucket: str, tmp_path: Path, small_config: Callable[..., Config]
) -> None:
    for cache in ("auto", "none"):
        runs = [
            train(small_config(data, out=str(tmp_path / cache / name), epochs=2, cache=cache), log=quiet)
            for name, data in (("of-folder", str(tmp_path / "photos")), ("of-bucket", bucket))
        ]
        one, other = (load_file(run / "model.safetensors") for run in runs)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.slow
def test_what_is_wrong_with_a_bucket_is_one_sentence(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    import boto3

    assert main(["data", "stats", "s3://bucket/nothing"]) == 2
    assert capsys.readouterr().err.startswith("catdog: there is no s3://bucket/nothing/shards.json; check the address")
    assert main(["data", "stats", "s3://no-such-bucket/packed"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    client = boto3.client("s3")
    body = client.get_object(Bucket="bucket", Key="my/packed/photos-000001.tar")["Body"].read()
    client.put_object(Bucket="bucket", Key="my/packed/photos-000001.tar", Body=bytes(len(body)))
    assert main(["data", "stats", bucket]) == 2
    told = capsys.readouterr().err
    assert f"cannot read {bucket}/photos-000001.tar: it has changed since its index was written" in told
