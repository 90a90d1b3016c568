"""Why a GPU is used or not."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from audiostyle.doctor import selftest
from audiostyle.nn import gpu_diagnosis


class FakeTF:
    """As much of TensorFlow as says what a device is."""

    def __init__(self, *capabilities: tuple[int, int], cuda: bool = True) -> None:
        self.test = SimpleNamespace(is_built_with_cuda=lambda: cuda)
        build = {"cuda_compute_capabilities": ["sm_60", "sm_70", "compute_100"]} if cuda else {}
        self.sysconfig = SimpleNamespace(get_build_info=lambda: build)
        self.config = SimpleNamespace(
            list_physical_devices=lambda kind: [SimpleNamespace(name=c) for c in capabilities],
            experimental=SimpleNamespace(
                get_device_details=lambda gpu: {
                    "compute_capability": gpu.name,
                    "device_name": "NVIDIA T4",
                }
            ),
        )


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (gpu_diagnosis.Driver(False), "no NVIDIA driver was found"),
        (gpu_diagnosis.Driver(True, 803), r"the NVIDIA driver fails \(CUDA error 803\)"),
        (gpu_diagnosis.Driver(True), "the NVIDIA driver sees no GPU"),
        (
            gpu_diagnosis.Driver(True, 0, ((5, 2),)),
            "compute capability 5.2 is below the 6.0 of this",
        ),
        (
            gpu_diagnosis.Driver(True, 0, ((5, 2), (9, 0))),
            r"cannot use the 2 GPU\(s\).*audiostyle\[cuda\]",
        ),
    ],
)
def test_why_no_gpu_is_used(
    driver: gpu_diagnosis.Driver, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu_diagnosis.sys, "platform", "linux")
    monkeypatch.setattr(gpu_diagnosis, "query_driver", lambda: driver)
    finding = selftest.check_device(FakeTF())
    assert finding.state == "ok"
    assert re.search(reason, finding.text)


def test_why_no_gpu_is_used_wherever_the_driver_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu_diagnosis.sys, "platform", "linux")
    assert "built without GPU support" in gpu_diagnosis.explain_missing_gpu(FakeTF(cuda=False))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpu_diagnosis.explain_missing_gpu(FakeTF()).startswith(
        "CUDA_VISIBLE_DEVICES='-1' hides every GPU"
    )
    monkeypatch.setattr(gpu_diagnosis.sys, "platform", "win32")
    assert "WSL 2" in gpu_diagnosis.explain_missing_gpu(FakeTF())
    monkeypatch.setattr(gpu_diagnosis.sys, "platform", "darwin")
    assert "macOS" in gpu_diagnosis.explain_missing_gpu(FakeTF())


class FakeCuda:
    """A driver with two GPUs, or one that fails."""

    def __init__(self, error: int) -> None:
        self.error = error

    def cuInit(self, flags: int) -> int:
        return self.error

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = 2
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = number
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: 8 + device.value, 76: 6}[attribute]
        return 0


def test_the_driver_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_diagnosis.ctypes, "CDLL", lambda name: FakeCuda(0))
    assert gpu_diagnosis.query_driver() == gpu_diagnosis.Driver(True, 0, ((8, 6), (9, 6)))
    monkeypatch.setattr(gpu_diagnosis.ctypes, "CDLL", lambda name: FakeCuda(100))
    assert gpu_diagnosis.query_driver() == gpu_diagnosis.Driver(True, 100)
    monkeypatch.undo()
    monkeypatch.setattr(gpu_diagnosis, "DRIVER", "libnone.so.9")
    assert gpu_diagnosis.query_driver() == gpu_diagnosis.Driver(False)


def test_a_gpu_is_named_with_what_it_can_do() -> None:
    text = selftest.check_device(FakeTF((7, 5))).text
    assert text == "GPU: NVIDIA T4 (capability 7.5)"
