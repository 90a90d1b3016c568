from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from audiostyle.doctor import selftest
from audiostyle.nn import device
from audiostyle.nn.device import choose_precision


class FakeTF:
    """The part of TensorFlow that describes GPUs."""

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
    ("capabilities", "chosen"),
    [([(7, 5)], "float32"), ([(8, 0)], "bfloat16"), ([(9, 0), (7, 0)], "float32")],
)
def test_precision_is_that_of_the_oldest_gpu(
    capabilities: list[tuple[int, int]], chosen: str
) -> None:
    precision, reason = choose_precision("auto", FakeTF(*capabilities))
    assert precision == chosen
    assert "{}.{}".format(*min(capabilities)) in reason


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [("avx2 amx_bf16", "bfloat16"), ("avx512_bf16", "bfloat16"), ("avx2", "float32")],
)
def test_precision_of_a_processor_goes_by_its_flags(
    flags: str, chosen: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags: {flags}\n")
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert choose_precision("auto", FakeTF())[0] == chosen
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "none")
    assert choose_precision("auto", FakeTF())[0] == "float32"
    monkeypatch.setattr(device.platform, "machine", lambda: "arm64")
    assert choose_precision("auto", FakeTF()) == ("float32", "the processor is arm64")
    assert choose_precision("bfloat16", FakeTF()) == ("bfloat16", "as requested")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((803, []), r"the NVIDIA driver fails \(CUDA error 803\)"),
        ((0, []), "the NVIDIA driver sees no GPU"),
        ((0, [(5, 2)]), "compute capability 5.2 is below the 6.0 of this"),
        ((0, [(5, 2), (9, 0)]), r"cannot use the 2 GPU\(s\).*audiostyle\[cuda\]"),
    ],
)
def test_why_no_gpu_is_used(answer: Any, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device, "query_driver", lambda: answer)
    finding = selftest.check_device(FakeTF())
    assert finding.state == "ok"
    assert re.search(reason, finding.text)


def test_why_no_gpu_is_used_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device.sys, "platform", "linux")
    monkeypatch.setattr(device, "DRIVER", "libnone.so.9")
    assert "no NVIDIA driver was found" in device.explain_missing_gpu(FakeTF())


def test_why_no_gpu_is_used_wherever_the_driver_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device.sys, "platform", "linux")
    assert "built without GPU support" in device.explain_missing_gpu(FakeTF(cuda=False))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert device.explain_missing_gpu(FakeTF()).startswith(
        "CUDA_VISIBLE_DEVICES='-1' hides every GPU"
    )
    monkeypatch.setattr(device.sys, "platform", "win32")
    assert "WSL 2" in device.explain_missing_gpu(FakeTF())
    monkeypatch.setattr(device.sys, "platform", "darwin")
    assert "macOS" in device.explain_missing_gpu(FakeTF())


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
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeCuda(0))
    assert device.query_driver() == (0, [(8, 6), (9, 6)])
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: FakeCuda(100))
    assert device.query_driver() == (100, [])


def test_a_gpu_is_named_with_what_it_can_do() -> None:
    text = selftest.check_device(FakeTF((7, 5))).text
    assert text == "GPU: NVIDIA T4 (capability 7.5)"


def blas_threads() -> set[int]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_blocks_on_one_blas_thread_may_overlap() -> None:
    with threadpool_limits(2, "blas"):
        first, second = device.single_blas_thread(), device.single_blas_thread()
        first.__enter__()
        second.__enter__()
        assert blas_threads() == {1}
        first.__exit__(None, None, None)
        assert blas_threads() == {1}
        second.__exit__(None, None, None)
        assert blas_threads() == {2}
