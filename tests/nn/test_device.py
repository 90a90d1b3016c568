from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from audiostyle.nn import device
from audiostyle.nn.device import choose_precision


class FakeTF:
    """The part of TensorFlow that describes GPUs."""

    def __init__(self, *capabilities: tuple[int, int]) -> None:
        self.config = SimpleNamespace(
            list_physical_devices=lambda kind: capabilities,
            experimental=SimpleNamespace(
                get_device_details=lambda gpu: {"compute_capability": gpu}
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
    path: str | Path = tmp_path / "cpuinfo"
    monkeypatch.setattr(device, "open", lambda name, **options: path.open(**options), raising=False)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert choose_precision("auto", FakeTF())[0] == chosen
    path = tmp_path / "none"
    assert choose_precision("auto", FakeTF())[0] == "float32"
    monkeypatch.setattr(device.platform, "machine", lambda: "arm64")
    assert choose_precision("auto", FakeTF()) == ("float32", "the processor is arm64")
    assert choose_precision("bfloat16", FakeTF()) == ("bfloat16", "as asked")
