"""Synthetic pairs with a known target: the content's notes, played in the style's timbre.

The content is a phrase in one timbre. The style is another phrase in another timbre, key and tempo.
The target is the content's phrase in the style's timbre, as in Cífka et al. 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.quality.phrases import Note, compose
from bench.quality.runs import Array
from bench.quality.synthesizer import synthesize
from bench.quality.timbres import TIMBRES

SHIFTS = {"tuning": (1, 5), "held-out": (7, 10)}  # from the content's timbre to the style's


@dataclass(frozen=True)
class SyntheticPair:
    """Timbres of a content and a style; everything random is drawn from the number."""

    number: int  # even in the half for tuning, odd in the held-out half
    content: str
    style: str

    kind = "synthetic"

    @property
    def name(self) -> str:
        """Name of the pair in the tables."""
        return f"{self.number:02d} {self.content}>{self.style}"

    def phrases(self) -> tuple[list[Note], list[Note]]:
        """Compose the phrases of content and style, in different keys and tempi."""
        rng = np.random.default_rng([7, self.number])
        tonic, bpm = int(rng.integers(12)), float(rng.uniform(80, 120))
        style_tonic = (tonic + int(rng.integers(1, 12))) % 12
        style_bpm = bpm * float(rng.uniform(1.15, 1.4)) ** int(rng.choice((-1, 1)))
        centers = [int(center) for center in rng.integers(60, 77, 2)]
        voices = 1 + self.number // 2 % 3
        style_voices = int(rng.integers(1, 4))
        number = 2 * self.number
        return (
            compose(number, tonic=tonic, bpm=bpm, center=centers[0], voices=voices),
            compose(
                number + 1,
                tonic=style_tonic,
                bpm=style_bpm,
                center=centers[1],
                voices=style_voices,
            ),
        )

    def render(self, sr: int) -> dict[str, Array]:
        """Play content, style, target and a second take: the target with other vibrato and noise.

        Content, target and take have the same length.
        """
        content, style = self.phrases()
        seed = 4 * self.number
        return {
            "content": synthesize(content, self.content, sr, seed),
            "style": synthesize(style, self.style, sr, seed + 1),
            "target": synthesize(content, self.style, sr, seed + 2),
            "take": synthesize(content, self.style, sr, seed + 3),
        }


def choose_synthetic(which: str) -> list[SyntheticPair]:
    """List the 24 pairs of a half (``tuning``, ``held-out``).

    Every timbre is equally often content and style, and no ordered pair of timbres is in both
    halves.
    """
    names = list(TIMBRES)
    pairs: list[SyntheticPair] = []
    for i, content in enumerate(names):
        for shift in SHIFTS[which]:
            number = 2 * len(pairs) + (which == "held-out")
            pairs.append(SyntheticPair(number, content, names[(i + shift) % len(names)]))
    return pairs
