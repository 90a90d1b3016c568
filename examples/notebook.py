# ruff: noqa: B018  # the last line of a cell is what a notebook shows
# %% [markdown]
# # audiostyle in a notebook
#
# Open this file as a notebook (VS Code and Jupytext do that), or run it as a script:
# `python examples/notebook.py`. It writes `demo/notebook.wav`.

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
# Several strengths: the networks are loaded once.

# %%
takes = {}
for strength in (0.4, 1.0):
    one = audiostyle.StyleTransfer(TransferConfig.from_preset("fast", strength=strength))
    takes[strength] = one.transfer(content, style, sr)
takes

# %% [markdown]
# Keep one of them.

# %%
Path("demo").mkdir(exist_ok=True)
takes[0.4].save("demo/notebook.wav", force=True)
