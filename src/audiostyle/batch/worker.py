"""Where pairs become outputs: one network, a few styles in memory, one pair at a time."""

from __future__ import annotations

import gc
import os
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiostyle.batch.plan import Job
from audiostyle.batch.request import BatchRequest
from audiostyle.config.transfer_config import TransferConfig
from audiostyle.core.transfer import StyleTransfer
from audiostyle.errors import AudioFileError
from audiostyle.events import Callback
from audiostyle.files import transfer
from audiostyle.files.request import TransferRequest
from audiostyle.files.style_file import is_style_file
from audiostyle.files.style_source import StyleSource
from audiostyle.nn import device, weights
from audiostyle.utils import atomic_files

STYLES_KEPT = 4  # pairs come sorted by style, so that one would nearly do


class PairWorker:
    """Computes and judges the pairs of a batch; what it gives does not depend on their order.

    Parameters
    ----------
    request : BatchRequest
    config : TransferConfig

    Raises
    ------
    ConfigError
        If TensorFlow has begun to work with another number of threads than is asked for.
    """

    def __init__(self, request: BatchRequest, config: TransferConfig) -> None:
        device.set_deterministic(request.deterministic)
        if request.threads:  # not with the first pair: what is wrong with it is no pair's fault
            device.load_tensorflow(quiet=not request.verbose)
            device.set_threads(request.threads)
        self._request = request
        self._config = config
        self._stylist: StyleTransfer | None = None
        self._styles: OrderedDict[tuple[Path, ...], StyleSource] = OrderedDict()

    def make(self, job: Job, callback: Callback) -> dict[str, Any]:
        """Compute a pair, and publish its output.

        Parameters
        ----------
        job : Job
        callback : callable
            As for `audiostyle.transfer`.

        Returns
        -------
        dict
            The record that lies beside the output.

        Raises
        ------
        AudioStyleError
        """
        asked = self._request
        request = TransferRequest(
            job.pair.content.path,
            [job.pair.style.path],
            job.output,
            [1.0],
            start=asked.start,
            duration=asked.duration,
            preview=asked.preview,
            subtype=asked.subtype,
            force=True,  # whether it may be replaced was decided for all outputs at once
            device=asked.device,
            preset=asked.preset,
            threads=asked.threads,
            deterministic=asked.deterministic,
            verbose=asked.verbose,
        )
        if self._stylist is None:
            weights.check_weights(self._config.network, self._config.weights)
            device.load_tensorflow(quiet=not asked.verbose)
            self._stylist = StyleTransfer(self._config, asked.device, asked.threads)
        style = self._hear(job, callback)
        atomic_files.make_folder(job.output.parent)
        _, record = transfer.run_transfer(request, self._config, callback, self._stylist, [style])
        self._check_inputs(job, record)
        return record

    def evaluate(self, job: Job) -> dict[str, Any]:
        """Evaluate an output that is there.

        Parameters
        ----------
        job : Job

        Returns
        -------
        dict of str to float or None
            As from `audiostyle.evaluate`.

        Raises
        ------
        AudioStyleError
        """
        from audiostyle.evaluation import evaluate_files
        from audiostyle.evaluation.types import EvaluationRequest

        pair = job.pair
        report = evaluate_files.run_evaluation(
            EvaluationRequest(pair.content.path, pair.style.path, [job.output])
        )
        if report.failed:
            raise AudioFileError(report.failed[0]["reason"])
        return report.scores[0].measures

    def forget(self) -> None:
        """Give back what can be computed again, as when memory is short."""
        self._styles.clear()
        gc.collect()

    def _hear(self, job: Job, callback: Callback) -> StyleSource:
        """Return a style that was listened to, now or before."""
        clips = job.pair.style.clips
        if clips not in self._styles:
            if is_style_file(clips[0]):
                style = transfer.find_style_source(clips[0], 1.0, self._config)
            else:
                style = StyleSource(job.pair.style.path, 1.0, list(clips))
            assert self._stylist is not None
            heard = self._stylist.analyze_style(style.as_style(self._config), callback)
            self._styles[clips] = replace(style, analyzed=lambda: heard)
        self._styles.move_to_end(clips)
        while len(self._styles) > STYLES_KEPT:
            self._styles.popitem(last=False)
        return self._styles[clips]

    def _check_inputs(self, job: Job, record: dict[str, Any]) -> None:
        """Make sure that what was read is what was planned; the output is withdrawn if not."""
        used = [record["content"]]
        for style in record["styles"]:
            used += [style] if "sha256" in style else style["clips"]
        for entry in used:
            expected = job.digests.get(os.path.abspath(entry["path"]))
            if expected is not None and entry["sha256"] != expected:
                job.output.unlink(missing_ok=True)
                raise AudioFileError(
                    f"{entry['path']}: was changed while the batch ran; run it again",
                    kind="changed",
                )
