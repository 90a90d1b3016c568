"""Timbres of the synthesizer: twelve parameter sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timbre:
    """Parameters of an instrument's sound.

    Without `ratios` and `gains_db`, the partials are harmonics that fall by `slope_db` per octave.
    The class and its fields keep their names: the phases of the partials are seeded by the `repr`.
    """

    ratios: tuple[float, ...] = ()  # frequencies of the partials relative to the fundamental
    gains_db: tuple[float, ...] = ()
    slope_db: float = -6.0  # dB per octave above the fundamental
    even_db: float = 0.0  # level of even harmonics
    stretch: float = 0.0  # inharmonicity B of a stiff string: partial n is at n sqrt(1 + B n^2)
    pluck: float = 0.0  # point of excitation as a share of the string; 0 for none
    resonances: tuple[tuple[float, float, float], ...] = ()  # center in Hz, dB, width in octaves
    attack: float = 0.02  # seconds
    release: float = 0.08  # seconds
    decay: float = 0.0  # of a held note, dB/s
    damping: float = 0.0  # increase of the decay per kHz of a partial's frequency
    brightening: float = 0.0  # partial n grows with level ** (1 + brightening (n - 1))
    vibrato_cents: float = 0.0
    tremolo_db: float = 0.0
    rate: float = 5.5  # of vibrato and tremolo, Hz
    players: int = 1  # in unison
    spread_cents: float = 0.0  # detuning between the players
    breath_db: float = -120.0  # noise while the note sounds, relative to the tone
    knock_db: float = -120.0  # noise at the attack, relative to the tone


# Adjacent timbres differ in kind, so that pairs at a fixed distance do as well.
TIMBRES: dict[str, Timbre] = {
    "strings": Timbre(
        slope_db=-6.0,
        resonances=((280.0, 6.0, 0.4), (480.0, 5.0, 0.3), (2500.0, 8.0, 0.8), (7000.0, -12.0, 0.9)),
        attack=0.12,
        release=0.18,
        vibrato_cents=18.0,
        players=3,
        spread_cents=7.0,
        breath_db=-38.0,
    ),
    "pluck": Timbre(
        slope_db=-7.0,
        pluck=0.19,
        stretch=5e-5,
        resonances=((110.0, 8.0, 0.4), (220.0, 6.0, 0.4), (420.0, 3.0, 0.4), (5000.0, -14.0, 1.2)),
        attack=0.004,
        release=0.06,
        decay=14.0,
        damping=1.6,
        knock_db=-16.0,
    ),
    "clarinet": Timbre(
        slope_db=-5.0,
        even_db=-26.0,
        resonances=((1500.0, 6.0, 0.5), (3200.0, -6.0, 0.5), (6000.0, -18.0, 1.0)),
        attack=0.035,
        release=0.06,
        breath_db=-44.0,
    ),
    "celesta": Timbre(
        ratios=(1.0, 2.76, 4.0, 5.40, 8.93, 13.34),
        gains_db=(0.0, -14.0, -12.0, -18.0, -22.0, -28.0),
        resonances=((1800.0, 4.0, 0.8),),
        attack=0.002,
        release=0.25,
        decay=11.0,
        damping=1.2,
        knock_db=-22.0,
    ),
    "brass": Timbre(
        slope_db=-2.0,
        brightening=0.22,
        resonances=((650.0, 6.0, 0.5), (1300.0, 6.0, 0.5), (5000.0, -10.0, 0.8)),
        attack=0.055,
        release=0.09,
        vibrato_cents=6.0,
        rate=4.8,
        breath_db=-46.0,
    ),
    "piano": Timbre(
        slope_db=-8.0,
        pluck=0.12,
        stretch=4e-4,
        resonances=((180.0, 4.0, 0.8), (1100.0, 3.0, 0.6), (4000.0, -10.0, 1.0)),
        attack=0.005,
        release=0.12,
        decay=8.0,
        damping=0.8,
        brightening=0.03,
        players=2,
        spread_cents=1.5,
        knock_db=-18.0,
    ),
    "flute": Timbre(
        ratios=(1.0, 2.0, 3.0, 4.0, 5.0),
        gains_db=(0.0, -9.0, -20.0, -30.0, -38.0),
        resonances=((900.0, 3.0, 0.8),),
        attack=0.06,
        release=0.08,
        vibrato_cents=8.0,
        tremolo_db=2.0,
        rate=5.0,
        breath_db=-17.0,
        knock_db=-20.0,
    ),
    "organ": Timbre(
        ratios=(0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0),
        gains_db=(-4.0, 0.0, -6.0, -3.0, -8.0, -7.0, -16.0, -13.0, -11.0, -20.0, -24.0),
        attack=0.012,
        release=0.03,
        knock_db=-26.0,
    ),
    "epiano": Timbre(
        ratios=(1.0, 2.0, 3.0, 4.0, 7.03, 14.1),
        gains_db=(0.0, -13.0, -20.0, -30.0, -21.0, -26.0),
        resonances=((300.0, 3.0, 1.0),),
        attack=0.004,
        release=0.1,
        decay=6.0,
        damping=6.0,
        brightening=0.15,
        tremolo_db=4.0,
        rate=4.2,
        knock_db=-34.0,
    ),
    "voice": Timbre(
        slope_db=-9.0,
        resonances=(
            (120.0, -8.0, 0.8),
            (720.0, 18.0, 0.35),
            (1150.0, 14.0, 0.25),
            (2800.0, 22.0, 0.25),
            (3700.0, 14.0, 0.2),
        ),
        attack=0.09,
        release=0.12,
        vibrato_cents=35.0,
        rate=5.8,
        breath_db=-34.0,
    ),
    "harpsichord": Timbre(
        slope_db=-2.5,
        pluck=0.07,
        stretch=3e-5,
        resonances=((350.0, -5.0, 1.0), (2400.0, 7.0, 0.7), (8500.0, -10.0, 0.7)),
        attack=0.002,
        release=0.04,
        decay=16.0,
        damping=0.5,
        players=2,
        spread_cents=2.0,
        knock_db=-14.0,
    ),
    "oboe": Timbre(
        slope_db=-4.0,
        resonances=((300.0, -9.0, 0.9), (1150.0, 15.0, 0.35), (2900.0, 9.0, 0.35), (6e3, -20.0, 1)),
        attack=0.03,
        release=0.06,
        vibrato_cents=12.0,
        rate=5.2,
        breath_db=-42.0,
    ),
}
