"""Use audiostyle in a notebook.

VS Code and Jupytext open this file as a notebook; ``python examples/notebook.py`` runs it as a
script. It writes ``demo/notebook.wav``.
"""
# ruff: noqa: B018  # the last line of a cell is what a notebook shows

# %%
from pathlib import Path

import soundfile as sf

import audiostyle
from audiostyle import TransferConfig

FOLDER = Path("examples")
content, sr = sf.read(FOLDER / "pluck.flac", dtype="float32")
style, _ = sf.read(FOLDER / "strings.flac", dtype="float32")

# %% [markdown]
# A progress bar while it works; a player and the spectrograms as the result.

# %%
config = TransferConfig.from_preset("fast", strength=0.8)
result = audiostyle.transfer(content, style, sr, config, progress=True)
result

# %% [markdown]
# Content, style, result and losses as a Matplotlib figure.

# %%
result.plot("pluck in the style of strings")

# %% [markdown]
# Several strengths, to choose from by ear: each shows a player of its own.

# %%
takes = {}
for strength in (0.4, 1.0):
    config = TransferConfig.from_preset("fast", strength=strength)
    takes[strength] = audiostyle.transfer(content, style, sr, config)
takes[0.4]

# %% [markdown]
# Keep one of them.

# %%
Path("demo").mkdir(exist_ok=True)
takes[0.4].save("demo/notebook.wav", force=True)
