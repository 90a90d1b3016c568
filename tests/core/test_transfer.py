from __future__ import annotations

import contextlib
import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import audiostyle
from audiostyle import Style, StyleTransfer, TransferConfig, TransferResult, transfer
from audiostyle.audio import loudness
from audiostyle.core import transfer as core_transfer
from audiostyle.errors import AudioFileError, AudioStyleError, ConfigError, DeviceError
from audiostyle.events import Iteration, Stage
from audiostyle.nn.device import Device
from tests.conftest import SR, make_noise, make_tiny_config, make_tones


@functools.lru_cache(maxsize=4)
def load(config: TransferConfig) -> StyleTransfer:
    """Load networks once per configuration: a result does not depend on earlier transfers."""
    return StyleTransfer(config)


def run(
    config: TransferConfig, content: Any = None, style: Any = None, callback: Any = None
) -> Any:
    content = make_tones() if content is None else content
    style = make_noise() if style is None else style
    return load(config).transfer(content, style, SR, callback)


@pytest.fixture(scope="module")
def tiny_config() -> TransferConfig:
    return make_tiny_config()


@pytest.fixture(scope="module")
def result(tiny_config: TransferConfig) -> TransferResult:
    return transfer(make_tones(), make_noise(), SR, tiny_config)


def test_the_style_loss_falls_and_the_total_never_rises(tiny_config: TransferConfig) -> None:
    # Large weights of pitch and onset leave the style loss little room to fall.
    config = dataclasses.replace(tiny_config, iterations=10, pitch_weight=2.0, onset_weight=0.3)
    history = run(config).history
    totals = [iteration.total for iteration in history]
    assert totals == sorted(totals, reverse=True)
    assert history[-1].style < 0.8 * history[0].style


def test_the_optimization_takes_the_given_number_of_steps(result: TransferResult) -> None:
    assert result.stopped == "iterations"
    assert [iteration.step for iteration in result.history] == [0, 1, 2, 3]


def test_the_result_is_nearer_to_the_style_in_the_mean_spectrum(
    tiny_config: TransferConfig,
) -> None:
    result = run(dataclasses.replace(tiny_config, init="notes"))

    def distance(S: Any) -> float:
        return float(np.abs(S.mean(axis=1) - result.S_style.mean(axis=1)).mean())

    assert distance(result.S_result) < 0.6 * distance(result.S_content)


def test_the_result_has_the_shape_rate_and_loudness_of_the_content(
    result: TransferResult,
) -> None:
    content = make_tones()
    assert result.y.shape == content.shape
    assert result.y.dtype == np.float32
    assert result.sr == SR
    ours, theirs = (loudness.loudness(y[None], SR) for y in (result.y, content))
    assert ours == pytest.approx(theirs, abs=0.1)


@pytest.mark.parametrize(
    "init",
    [
        "notes",
        *(pytest.param(i, marks=pytest.mark.slow) for i in ("content", "style", "noise")),
    ],
)
def test_strength_0_returns_the_content(tiny_config: TransferConfig, init: str) -> None:
    content = np.stack([make_tones(), make_noise(seed=3)])
    result = run(dataclasses.replace(tiny_config, strength=0.0, init=init), content)
    np.testing.assert_array_equal(result.y, content)  # sample for sample


def test_a_dc_offset_is_removed(tiny_config: TransferConfig, result: TransferResult) -> None:
    shifted = run(tiny_config, make_tones() + np.float32(0.3), make_noise() - np.float32(0.2))
    assert abs(float(shifted.y.mean())) < 0.02
    # All but the lowest band, where the unshifted clip keeps its own small offset.
    error = np.abs(shifted.S_content - result.S_content)[1:]
    assert error.mean() < 0.1


@pytest.mark.slow
def test_strength_lies_between_content_and_full_style(tiny_config: TransferConfig) -> None:
    distances = [
        np.abs(
            run(dataclasses.replace(tiny_config, strength=s)).S_result
            - run(dataclasses.replace(tiny_config, strength=0.0)).S_content
        ).mean()
        for s in (0.25, 0.5, 1.0)
    ]
    assert distances == sorted(distances)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_samples(tiny_config: TransferConfig) -> None:
    config = dataclasses.replace(tiny_config, init="noise")
    first, again = run(config), run(config)
    np.testing.assert_array_equal(first.y, again.y)
    other = run(dataclasses.replace(config, seed=1))
    assert np.abs(other.y - first.y).max() > 0.01


def test_content_and_style_swapped_give_another_result(
    tiny_config: TransferConfig, result: TransferResult
) -> None:
    swapped = run(tiny_config, make_noise(), make_tones())
    assert np.linalg.norm(swapped.y - result.y) > 0.5 * np.linalg.norm(result.y)
    np.testing.assert_allclose(swapped.S_content, result.S_style, atol=1e-3)


@pytest.mark.slow
def test_a_style_repeated_is_the_same_style(tiny_config: TransferConfig) -> None:
    clip = (make_noise(), SR)
    once, twice = (run(tiny_config, style=[Style([clip] * n)]) for n in (1, 2))
    assert np.linalg.norm(twice.y - once.y) < 0.01 * np.linalg.norm(once.y)


def test_a_blend_with_weight_0_leaves_a_style_out(
    tiny_config: TransferConfig, result: TransferResult
) -> None:
    other = Style([(make_tones(base=440.0), SR)], weight=0.0)
    alone = run(tiny_config, style=[Style([(make_noise(), SR)], weight=3.0), other])
    np.testing.assert_array_equal(alone.y, result.y)
    blended = run(tiny_config, style=[make_noise(), make_tones(base=440.0)])
    assert np.abs(blended.y - result.y).max() > 0.01


@pytest.mark.parametrize("seconds", [0.5, 0.77, 2.0])
@pytest.mark.parametrize("sr", [8000, 44_100])
def test_lengths_rates_and_channels_may_differ(
    tiny_config: TransferConfig, seconds: float, sr: int
) -> None:
    content = np.stack([make_tones(seconds, sr), make_noise(seconds, sr)])
    style = Style([(make_noise(1.3, 32_000), 32_000)])
    result = load(tiny_config).transfer(content, [style], sr)
    assert result.y.shape == content.shape
    assert np.isfinite(result.y).all()


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("vgg19", {"content_layers": "block2_conv1", "style_layers": "block1_conv1"}),
        ("musicnn-vgg", {"content_layers": "conv1", "style_layers": "conv1,conv2"}),
        ("random-1d", {"content_layers": "width3", "style_layers": "width5", "bands": 1}),
    ],
)
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_network_and_optimizer_lowers_the_total(
    network: str, optimizer: str, options: dict[str, Any], tiny_config: TransferConfig
) -> None:
    config = TransferConfig.from_preset(
        "balanced",
        network=network,
        optimizer=optimizer,
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        iterations=4,
        inversion_iterations=1,
        **{"bands": 4, **options},
    )
    history = run(config).history
    assert history[-1].total < history[0].total


@pytest.mark.slow
def test_the_envelope_loss_moves_the_dynamics_towards_the_style(
    tiny_config: TransferConfig,
) -> None:
    plain = run(dataclasses.replace(tiny_config, iterations=8))
    config = dataclasses.replace(tiny_config, iterations=8, envelope_weight=100.0)
    weighted = run(config)
    assert plain.history[-1].envelope == 0.0
    assert weighted.history[-1].envelope < 0.5 * weighted.history[0].envelope


@pytest.mark.slow
def test_the_classic_preset_lowers_both_its_losses_from_noise() -> None:
    config = TransferConfig.from_preset(
        "classic",
        init="noise",
        n_fft=1024,
        hop_length=256,
        n_mels=64,
        iterations=6,
        inversion_iterations=4,
    )
    history = run(config).history
    assert history[-1].content < history[0].content
    assert history[-1].style < history[0].style


@pytest.mark.parametrize(
    ("threads", "device", "losses", "ahead"),
    [
        (2, "/CPU:0", (), True),
        (1, "/CPU:0", (), False),
        (2, "/GPU:0", (), False),
        (2, "/CPU:0", (("mine", 1.0),), False),
    ],
)
def test_the_optimization_is_traced_ahead_only_beside_other_work(
    threads: int, device: str, losses: Any, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(get_intra_op_parallelism_threads=lambda: threads)
    tf = SimpleNamespace(
        config=SimpleNamespace(threading=settings), device=lambda _: contextlib.nullcontext()
    )
    monkeypatch.setattr(core_transfer, "load_tensorflow", lambda: tf)
    calls = list[str]()
    optimizer: Any = SimpleNamespace(
        config=SimpleNamespace(network="vgg19", losses=losses),
        is_traced=False,
        trace_in_background=lambda: calls.append("trace"),
    )
    core_transfer._trace_ahead(optimizer, Device(device, ""))
    assert bool(calls) == ahead


def test_events_come_in_order_and_the_callback_can_stop(tiny_config: TransferConfig) -> None:
    events: list[Stage | Iteration] = []

    def callback(event: Stage | Iteration) -> bool:
        events.append(event)
        return isinstance(event, Iteration) and event.step == 1

    result = transfer(make_tones(), make_noise(), SR, tiny_config, callback)
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages == ["loading", "style", "features", "optimization", "inversion"]
    assert [e.step for e in events if isinstance(e, Iteration)] == [0, 1]
    assert result.stopped == "interrupted"
    assert result.history == [e for e in events if isinstance(e, Iteration)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros(SR, np.float32), "content: is silent"),
        (np.full(SR, 1e-6), "content: is silent"),
        (np.ones(0, np.float32), "content: holds no samples"),
        (make_tones(0.4), "content: 0.4 s is too short; at least 0.5 s are needed"),
        (np.where(np.arange(SR) == 7, np.nan, make_tones()), "content: holds NaN or infinite"),
        (np.where(np.arange(SR) == 7, np.inf, make_tones()), "content: holds NaN or infinite"),
        ((make_tones() * 32767).astype(np.int16), "samples are integers; divide by full scale"),
        (make_tones()[:, None], "channels; from 1 to 64 are supported"),
        (make_tones()[None, None], "are not audio"),
        (np.array(["a"] * SR), "are not audio"),
    ],
)
def test_bad_content_is_refused(
    tiny_config: TransferConfig, content: np.ndarray, message: str
) -> None:
    with pytest.raises(AudioFileError, match=message):
        run(tiny_config, content)


@pytest.mark.parametrize(
    ("style", "error", "message"),
    [
        (np.zeros(SR), AudioFileError, "style 1: is silent"),
        ([make_tones(), make_tones(0.1)], AudioFileError, "style 2: 0.1 s is too short"),
        ([], ConfigError, "no style given"),
        ([Style([(make_tones(), SR)], weight=-1.0)], ConfigError, "weight -1.0 of style"),
        ([Style([(make_tones(), SR)], weight=0.0)], ConfigError, "are all 0"),
    ],
)
def test_bad_styles_are_refused(
    tiny_config: TransferConfig, style: Any, error: type[AudioStyleError], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(tiny_config, style=style)


def test_a_clip_too_short_for_the_network_is_refused_with_a_remedy() -> None:
    config = TransferConfig(style_layers="block5_conv1", n_fft=4096, hop_length=2048)
    with pytest.raises(
        AudioFileError, match=r"11 frames are too few for vgg19, which needs 16.*hop"
    ):
        run(config)


def test_an_absent_gpu_is_an_error(tiny_config: TransferConfig) -> None:
    with pytest.raises(DeviceError, match=r"gpu:99: .*use --device auto or cpu"):
        transfer(make_tones(), make_noise(), SR, tiny_config, device="gpu:99")


def test_the_public_names_exist() -> None:
    assert {"transfer", "TransferConfig", "TransferResult", "transfer_file"} <= set(
        audiostyle.__all__
    )
    with pytest.raises(AttributeError, match="no attribute 'transform'"):
        _ = audiostyle.transform
