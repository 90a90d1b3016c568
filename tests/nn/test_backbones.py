from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from audiostyle.config.registry import NETWORKS
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.nn import backbones
from audiostyle.nn.weights import load_weights

VGG19_LAYERS = NETWORKS["vgg19"].layers


def spectrogram(n_mels: int, t: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-80, 0, (1, n_mels, t, 1)).astype(np.float32)


def vgg19(config: TransferConfig, *layers: str) -> backbones.VGG19:
    return backbones.VGG19(list(layers), config)


SMALL = TransferConfig(n_mels=48, bands=4, precision="float32")


def test_vgg19_is_keras_own_graph_with_the_same_weights() -> None:
    from keras.applications import VGG19
    from keras.applications.vgg19 import preprocess_input

    weights = load_weights("vgg19")
    S = spectrogram(48, 37)
    image = np.repeat(255.0 * (1 + S / 80.0), 3, axis=3)
    keras_model = VGG19(include_top=False, weights=None, input_shape=image.shape[1:])
    for layer in keras_model.layers:
        if f"{layer.name}/kernel" in weights:
            layer.set_weights([weights[f"{layer.name}/kernel"], weights[f"{layer.name}/bias"]])
    import keras

    outputs = {name: keras_model.get_layer(name).output for name in VGG19_LAYERS}
    expected = keras.Model(keras_model.input, outputs)(preprocess_input(image.copy()))
    ours = vgg19(SMALL, *VGG19_LAYERS)(tf.constant(S))
    for name in VGG19_LAYERS:
        scale = float(tf.reduce_max(expected[name]))
        np.testing.assert_allclose(ours[name] / scale, expected[name] / scale, atol=2e-5)


def test_only_the_requested_layers_are_returned() -> None:
    features = vgg19(SMALL, "block2_conv1")(spectrogram(48, 16))
    assert list(features) == ["block2_conv1"]
    assert features["block2_conv1"].shape == (1, 24, 8, 128)


def test_average_pooling_differs_from_max_pooling_only_below_the_first_block() -> None:
    S = spectrogram(48, 16)
    layers = ("block1_conv2", "block2_conv1")
    by_max = vgg19(SMALL, *layers)(S)
    by_mean = vgg19(dataclasses.replace(SMALL, pooling="average"), *layers)(S)
    np.testing.assert_array_equal(by_max["block1_conv2"], by_mean["block1_conv2"])
    kernel, bias = (load_weights("vgg19")[f"block2_conv1/{part}"] for part in ("kernel", "bias"))
    pooled = tf.nn.avg_pool2d(by_mean["block1_conv2"], 2, 2, "VALID")
    expected = tf.nn.relu(tf.nn.conv2d(pooled, kernel, 1, "SAME") + bias)
    np.testing.assert_allclose(by_mean["block2_conv1"], expected, rtol=1e-4, atol=1e-2)


def test_bfloat16_agrees_with_float32() -> None:
    S = spectrogram(48, 16)
    exact = vgg19(SMALL, "block3_conv1")(S)["block3_conv1"].numpy()
    half = vgg19(dataclasses.replace(SMALL, precision="bfloat16"), "block3_conv1")(S)
    error = np.linalg.norm(tf.cast(half["block3_conv1"], tf.float32) - exact)
    assert error / np.linalg.norm(exact) < 0.02


def test_precision_auto_is_one_of_the_two() -> None:
    assert backbones.resolve_precision("auto") in ("float32", "bfloat16")
    assert backbones.resolve_precision("float32") == "float32"


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_precision_auto_on_a_gpu_is_what_it_computes_with(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert backbones.resolve_precision("auto") == precision


def test_musicnn_first_layer_is_the_published_front_end() -> None:
    """In a constant flat spectrum, the convolution has a closed form away from the edges."""
    config = TransferConfig(network="musicnn-vgg", precision="float32")
    network = backbones.MusicnnVGG(["conv1"], config)
    S = np.full((1, config.n_mels, 40, 1), -20.0, np.float32)
    features = network(tf.constant(S))["conv1"].numpy()
    w = load_weights("musicnn-vgg")
    power = 0.01 * network._power_scale
    x = np.log10(1 + 1e4 * power) * w["input/scale"] + w["input/shift"]
    expected = np.maximum(x * w["conv1/kernel"].sum(axis=(0, 1, 2)) + w["conv1/bias"], 0)
    np.testing.assert_allclose(features[0, 48, 20], expected, rtol=1e-3, atol=1e-4)


def test_musicnn_rebinning_keeps_a_flat_spectrum_flat_and_the_frequency_of_a_tone() -> None:
    import librosa

    config = TransferConfig()
    rebin = backbones._musicnn_rebin(config)
    np.testing.assert_allclose(rebin.sum(axis=1), 1, rtol=1e-5)
    ours = librosa.mel_frequencies(config.n_mels + 2, fmax=config.sr / 2)[1:-1]
    theirs = librosa.mel_frequencies(98, fmax=8000)[1:-1]
    np.testing.assert_allclose(rebin @ ours, theirs, rtol=0.03)


def test_musicnn_resamples_time_to_its_own_step() -> None:
    config = TransferConfig(network="musicnn-vgg", precision="float32")
    features = backbones.MusicnnVGG(["conv1"], config)(spectrogram(256, 100))
    seconds = 100 * config.hop_length / config.sr
    assert features["conv1"].shape == (1, 96, round(seconds * 16000 / 256), 128)


@pytest.mark.parametrize(
    ("network", "layer", "bands"),
    [("vgg19", "block2_conv1", 4), ("musicnn-vgg", "conv2", 4), ("random-1d", "width3", 1)],
)
def test_items_of_a_batch_do_not_affect_each_other(network: str, layer: str, bands: int) -> None:
    config = TransferConfig(network=network, precision="float32", n_mels=64, bands=bands)
    built = backbones.build_network(
        dataclasses.replace(config, content_layers=((layer, 1.0),), style_layers=((layer, 1.0),))
    )
    one, other = spectrogram(64, 40, seed=0), spectrogram(64, 40, seed=1)
    both = built(tf.constant(np.concatenate([one, other])))[layer]
    alone = tf.concat([built(tf.constant(S))[layer] for S in (one, other)], axis=0)
    scale = float(tf.reduce_max(alone))
    np.testing.assert_allclose(both / scale, alone / scale, atol=1e-5)


def random_1d(seed: int) -> dict[str, np.ndarray]:
    config = TransferConfig(network="random-1d", seed=seed, precision="float32", n_mels=32)
    network = backbones.Random1D(["width3", "width11"], config)
    return {name: a.numpy() for name, a in network(tf.constant(spectrogram(32, 20))).items()}


def test_random_filters_depend_on_the_seed_only() -> None:
    first, again, other = random_1d(1), random_1d(1), random_1d(2)
    for name, shape in (("width3", (1, 1, 20, 1024)), ("width11", (1, 1, 20, 1024))):
        assert first[name].shape == shape
        np.testing.assert_array_equal(first[name], again[name])
        assert np.abs(first[name] - other[name]).max() > 0.1


def test_random_filters_are_he_normal() -> None:
    config = TransferConfig(network="random-1d", precision="float32", n_mels=32)
    kernel = backbones.Random1D(["width11"], config)._kernels["width11"].numpy()
    assert kernel.std() == pytest.approx((2 / (11 * 32)) ** 0.5, rel=0.01)
    assert abs(kernel.mean()) < 1e-3


def test_build_network_follows_the_configuration() -> None:
    assert isinstance(backbones.build_network(TransferConfig()), backbones.VGG19)
    config = TransferConfig(network="musicnn-vgg")
    assert isinstance(backbones.build_network(config), backbones.MusicnnVGG)
    config = TransferConfig(network="random-1d")
    assert isinstance(backbones.build_network(config), backbones.Random1D)


@pytest.mark.parametrize("planes", [1, 2])
@pytest.mark.parametrize("step", [1, 2])
def test_convolve_plane_and_its_gradient_are_those_of_conv2d(step: int, planes: int) -> None:
    rng = np.random.default_rng(0)
    plane = tf.constant(rng.normal(size=(2, 8, 7, 1)), tf.float32)
    kernel = tf.constant(rng.normal(size=(3, 3, planes, 5)), tf.float32)
    bias = tf.constant(rng.normal(size=5), tf.float32)
    upstream = tf.constant(rng.normal(size=(2, 8 // step, 7, 5)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(plane)
        found = backbones.convolve_plane(plane, kernel, bias, step)
        both = tf.concat([plane, tf.ones_like(plane)][:planes], axis=3)
        expected = (tf.nn.conv2d(both, kernel, 1, "SAME") + bias)[:, ::step]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    ours = tape.gradient(found, plane, output_gradients=upstream)
    theirs = tape.gradient(expected, plane, output_gradients=upstream)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_convolve_plane_in_bfloat16_is_exact_up_to_rounding() -> None:
    rng = np.random.default_rng(1)
    kernel = tf.cast(rng.normal(size=(3, 3, 1, 64)), tf.bfloat16)
    upstream = tf.cast(rng.normal(size=(1, 6, 20, 64)), tf.bfloat16)
    plane = tf.zeros((1, 6, 20, 1), tf.bfloat16)
    with tf.GradientTape() as tape:
        tape.watch(plane)
        found = backbones.convolve_plane(plane, kernel, tf.zeros(64, tf.bfloat16))
    slope = tape.gradient(found, plane, output_gradients=upstream)
    exact = tf.nn.conv2d_transpose(
        tf.cast(upstream, tf.float32), tf.cast(kernel, tf.float32), plane.shape, 1, "SAME"
    )
    assert slope.dtype == tf.bfloat16
    error = np.linalg.norm(tf.cast(slope, tf.float32) - exact) / np.linalg.norm(exact)
    assert error < 2.0**-7
