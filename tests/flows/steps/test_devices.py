"""Each worker of a machine has a GPU of its own, and its share of the cores."""

import re

import pytest
import torch

from gatehouse.flows.steps.workers import devices
from gatehouse.warehouse.errors import GatehouseError


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_each_worker_has_one_gpu(four_gpus, monkeypatch):
    def gpus(*arguments):
        return [share["CUDA_VISIBLE_DEVICES"] for share in devices.shares(*arguments)]

    assert gpus(4, None) == ["0", "1", "2", "3"]
    assert gpus(2, "cuda") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-7f, 6,2,1")
    assert gpus(3, None) == ["GPU-7f", "6", "2"]


def test_workers_without_gpus_share_the_cores(monkeypatch):
    monkeypatch.setattr(devices, "cores", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert devices.shares(2, "cpu") == [{"OMP_NUM_THREADS": "4"}] * 2
    assert devices.shares(20, None) == [{"OMP_NUM_THREADS": "1"}] * 20
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert devices.shares(1, None) == [{"OMP_NUM_THREADS": "7"}]


@pytest.mark.parametrize(
    ("workers", "device_map", "said"),
    [
        (5, None, "--workers 5: there are 4 GPUs here, one for each worker"),
        (2, "cuda:1", "--device-map cuda:1 with --workers: each worker has a GPU of its own"),
        (2, "auto", "--device-map auto spreads the model over all GPUs, so there is one worker a"),
    ],
)
def test_what_workers_cannot_have_is_refused(workers, device_map, said, four_gpus):
    with pytest.raises(GatehouseError, match=re.escape(said)):
        devices.shares(workers, device_map)


def test_one_worker_may_have_all_gpus(four_gpus):
    (share,) = devices.shares(1, "balanced")
    assert "CUDA_VISIBLE_DEVICES" not in share


def test_a_process_of_torchrun_sees_its_own_gpu(four_gpus):
    launched = {"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}
    found = dict(launched)
    devices.take_own_gpu(None, found)
    assert found == launched | {"CUDA_VISIBLE_DEVICES": "2"}
    found = dict(launched)
    devices.take_own_gpu("cpu", found)
    assert found == launched
    with pytest.raises(GatehouseError, match="start one process a node"):
        devices.take_own_gpu("auto", found)
    with pytest.raises(GatehouseError, match="8 processes for 4 GPUs"):
        devices.take_own_gpu(None, launched | {"LOCAL_WORLD_SIZE": "8"})
