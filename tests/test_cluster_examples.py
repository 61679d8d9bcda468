"""docs/cluster: what the batch script and the Kubernetes job would start, without a cluster."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.run import parse_args

from catdog.cli.main import build_parser

CLUSTER = Path(__file__).parent.parent / "docs" / "cluster"


def training_of(torchrun: Sequence[str]) -> Any:
    """The arguments of `catdog train` that a call of torchrun hands on, as catdog's own parser takes them."""
    launch = parse_args(list(torchrun))
    assert launch.rdzv_backend == "c10d"
    assert launch.max_restarts > 0
    assert (launch.training_script, launch.module) == ("catdog", True)
    return build_parser().parse_args(launch.training_script_args)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_slurm_script_trains_and_goes_into_the_queue_again_when_its_time_is_over(
    tmp_path: Path, is_stopped: bool
) -> None:
    """With an srun that waits for its end, and an scontrol that notes what it is asked."""
    programs = {
        "srun": 'echo "$@" > srun.txt; trap "echo saved > saved.txt; exit 143" TERM; '
        + ("while :; do sleep 0.05; done" if is_stopped else ":"),
        "scontrol": 'if [ "$1" = show ]; then echo one; echo two; else echo "$@" > scontrol.txt; fi',
    }
    for name, does in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_NODELIST": "cluster[1-2]"}
    environment |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_ID": "7"}
    job = subprocess.Popen(["bash", CLUSTER / "slurm.sh"], cwd=tmp_path, env=environment)
    if is_stopped:
        while not (tmp_path / "srun.txt").exists():
            time.sleep(0.01)
        time.sleep(0.1)  # until srun waits
        job.send_signal(signal.SIGTERM)
    assert job.wait(60) == (143 if is_stopped else 0)
    program, *torchrun = (tmp_path / "srun.txt").read_text().split()
    assert program == "torchrun"
    assert "one:29500" in torchrun
    assert training_of(torchrun).or_resume
    if is_stopped:
        assert (tmp_path / "saved.txt").exists()
        assert (tmp_path / "scontrol.txt").read_text() == "requeue 7\n"
    else:
        assert not (tmp_path / "scontrol.txt").exists()


def test_the_kubernetes_job_is_one_and_trains() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    yaml = pytest.importorskip("yaml")
    service, job = yaml.safe_load_all((CLUSTER / "kubernetes.yaml").read_text())
    for document in (service, job):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert container["command"] == ["torchrun"]
    training = training_of(container["args"])
    (place,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "work")
    assert training.or_resume
    assert training.data.startswith(place) and training.out.startswith(place)
