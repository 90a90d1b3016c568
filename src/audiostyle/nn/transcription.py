"""Notes of a recording, found by Basic Pitch, a small transcription network for any instrument.

Architecture of R. M. Bittner et al., "A lightweight instrument-agnostic model for polyphonic note
transcription and multipitch estimation", ICASSP 2022, arXiv:2203.09893. The input is a constant-Q
transform (CQT) with three bins per semitone. Its copies, shifted by the intervals of the harmonics,
are the channels of the first convolutions.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from audiostyle.arrays import Array, Tensor
from audiostyle.dsp.spectrogram import hann
from audiostyle.nn.weights import load_shipped
from audiostyle.utils.lazy_imports import paused_collection

SAMPLE_RATE = 22_050  # Hz
HOP_LENGTH = 256
N_PITCHES = 88  # the keys of a piano: MIDI 21 to 108
F_MIN = 27.5  # Hz, A0
BINS_PER_OCTAVE = 36
N_BINS = 309  # up to the Nyquist frequency, in whole semitones
N_OCTAVES = 9
N_FFT = 256  # holds the longest filter of the top octave
HARMONICS = (0.5, 1, 2, 3, 4, 5, 6, 7)
# The network was trained on windows of this many samples, each normalised by itself. Of its 172
# frames, the outer 15 at both ends only serve as context.
WINDOW = 43_844
CONTEXT = 15  # frames
STEP = 142  # frames
BATCH = 8  # windows in memory at a time


class NoteTranscriber:
    """Estimate which notes sound, and which start, in each frame of a recording."""

    def __init__(self) -> None:
        self._weights = load_shipped("basic-pitch")
        self._filters, self._scale = _cqt_filters()
        self._lowpass = _half_band_filter()
        windows = tf.TensorSpec((None, WINDOW), tf.float32)
        forward = paused_collection()(self._forward)
        self._run = tf.function(forward, input_signature=[windows], autograph=False)

    def posteriors(self, y: Array) -> tuple[Array, Array]:
        """Estimate the probabilities of notes and of their onsets.

        Parameters
        ----------
        y : np.ndarray [shape=(channels, n)]
            Audio at 22,050 Hz. The mean of its channels is transcribed.

        Returns
        -------
        note, onset : np.ndarray [shape=(88, 1 + n // 256), dtype=float32]
            Probability that the note of MIDI number 21 + row sounds in a frame, and that it starts
            there. Frames are centred, as librosa's.
        """
        n = y.shape[-1]
        n_frames, step, start = 1 + n // HOP_LENGTH, STEP * HOP_LENGTH, CONTEXT * HOP_LENGTH
        n_windows = -(-n_frames // STEP)
        mono = np.zeros((n_windows - 1) * step + WINDOW, np.float32)
        mono[start : start + n] = y.mean(axis=0)
        windows = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[::step]
        blocks = [self._run(windows[i : i + BATCH]) for i in range(0, n_windows, BATCH)]
        frames = np.concatenate(blocks, axis=1).reshape(2, -1, N_PITCHES)[:, :n_frames]
        note, onset = np.ascontiguousarray(frames.transpose(0, 2, 1))
        return note, onset

    def _forward(self, windows: Tensor) -> Tensor:
        """Run windows [shape=(batch, WINDOW)]; return [shape=(2, batch, STEP, N_PITCHES)]."""
        x = self._normalise(self._cqt_power(windows))
        x = _stack_harmonics(x)
        contour = tf.nn.relu(self._convolve(x, "contour1"))
        contour = tf.sigmoid(self._convolve(contour, "contour2"))
        note = tf.nn.relu(self._convolve(contour, "note1", step=3))
        note = tf.sigmoid(self._convolve(note, "note2"))
        onset = tf.nn.relu(self._convolve(x, "onset1", step=3))
        onset = tf.sigmoid(self._convolve(tf.concat([note, onset], axis=3), "onset2"))
        return tf.stack([note[..., 0], onset[..., 0]])[:, :, CONTEXT : CONTEXT + STEP]

    def _cqt_power(self, y: Tensor) -> Tensor:
        """Power of the CQT [shape=(batch, t, N_BINS)]: one octave per halving of the rate."""
        lowpass = tf.constant(self._lowpass[:, None, None], tf.float32)
        filters = tf.constant(self._filters, tf.float32)
        y = y[..., None]
        octaves: list[Tensor] = []
        for octave in range(N_OCTAVES):
            padded = tf.pad(y, ((0, 0), (N_FFT // 2, N_FFT // 2), (0, 0)), "REFLECT")
            parts = tf.nn.conv1d(padded, filters, HOP_LENGTH >> octave, "VALID")
            real, imaginary = tf.split(parts, 2, axis=2)
            octaves.insert(0, real**2 + imaginary**2)
            y = tf.nn.conv1d(tf.pad(y, ((0, 0), (127, 127), (0, 0))), lowpass, 2, "VALID")
        return tf.concat(octaves, axis=2)[..., -N_BINS:] * tf.constant(self._scale, tf.float32)

    def _normalise(self, power: Tensor) -> Tensor:
        """Map the levels of a window to 0 to 1, then as the network was trained."""
        level = tf.math.log(power + 1e-10)
        level -= tf.reduce_min(level, (1, 2), keepdims=True)
        level = tf.math.divide_no_nan(level, tf.reduce_max(level, (1, 2), keepdims=True))
        return level * self._weights["input/scale"] + self._weights["input/shift"]

    def _convolve(self, x: Tensor, layer: str, step: int = 1) -> Tensor:
        """Convolve along time and frequency, keeping every `step`-th bin."""
        kernel, bias = self._weights[f"{layer}/kernel"], self._weights[f"{layer}/bias"]
        return tf.nn.conv2d(x, kernel, (1, step), "SAME") + bias


def _cqt_filters() -> tuple[Array, Array]:
    """Compute the filters of the top octave [shape=(N_FFT, 1, 72)] and the scales of all bins.

    The filters' real parts come first, then the imaginary parts.
    """
    quality = 1 / (2 ** (1 / BINS_PER_OCTAVE) - 1)
    frequencies = F_MIN * 2 ** (np.arange(N_BINS) / BINS_PER_OCTAVE)
    lengths = np.ceil(quality * SAMPLE_RATE / frequencies)
    filters = np.zeros((N_FFT, BINS_PER_OCTAVE), complex)
    for k in range(BINS_PER_OCTAVE):
        frequency, length = frequencies[k - BINS_PER_OCTAVE], int(lengths[k - BINS_PER_OCTAVE])
        n = np.arange(length) - (length + 1) // 2
        window = hann(length)
        phases = 2j * np.pi * frequency / SAMPLE_RATE * n
        filters[N_FFT // 2 + n, k] = window / window.sum() * np.exp(phases)
    return np.concatenate([filters.real, filters.imag], axis=1)[:, None], lengths


def _half_band_filter(n: int = 256) -> Array:
    """Compute the low pass before the rate is halved [shape=(n,)], by the window method.

    The same as ``firwin2(n, (0, 0.5 / 1.001, 0.5 * 1.001, 1), (1, 1, 0, 0))`` of `scipy.signal`,
    which takes a second to import.
    """
    frequencies = np.linspace(0.0, 1.0, n + 1)
    response = np.interp(frequencies, (0, 0.5 / 1.001, 0.5 * 1.001, 1), (1, 1, 0, 0))
    response = response * np.exp(-(n - 1) / 2.0 * 1j * np.pi * frequencies)
    hamming = 0.54 + (1 - 0.54) * np.cos(np.linspace(-np.pi, np.pi, n))
    return np.asarray(np.fft.irfft(response)[:n] * hamming)


def _stack_harmonics(x: Tensor) -> Tensor:
    """Shift bins [shape=(batch, t, N_BINS)] so that a note's harmonics are its channels."""
    shifts = [round(BINS_PER_OCTAVE * np.log2(harmonic)) for harmonic in HARMONICS]
    below = -min(shifts)
    padded = tf.pad(x, ((0, 0), (0, 0), (below, max(shifts))))
    n_bins = N_PITCHES * BINS_PER_OCTAVE // 12
    channels = [padded[..., below + shift : below + shift + n_bins] for shift in shifts]
    return tf.stack(channels, axis=3)
