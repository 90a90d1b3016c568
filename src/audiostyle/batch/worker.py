"""Worker of a batch: computes one pair at a time, with few networks and one style in memory."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from audiostyle.batch.plan import Job
from audiostyle.batch.request import BatchRequest
from audiostyle.config.variants import analysis_key
from audiostyle.core.sweep import TransferCache
from audiostyle.core.transfer import StyleTransfer
from audiostyle.errors import AudioFileError
from audiostyle.events import Callback
from audiostyle.files import transfer
from audiostyle.files.style_file import is_style_file
from audiostyle.files.style_source import StyleSource
from audiostyle.nn import device, weights
from audiostyle.utils import atomic_files


class PairWorker:
    """Computes and evaluates the pairs of a batch; results do not depend on their order.

    Creating it raises a `ConfigError` if TensorFlow has started with another number of threads.
    """

    def __init__(self, request: BatchRequest) -> None:
        device.set_deterministic(request.deterministic)
        if request.threads:  # here, so that an error is not blamed on the first pair
            device.load_tensorflow(quiet=not request.verbose)
            device.set_threads(request.threads)
        self._request = request
        self._transfers = TransferCache(request.device, request.threads)
        self._checked: set[tuple[str, str | None]] = set()  # networks and weights
        self._clips: tuple[Path, ...] = ()  # of the last style: pairs are sorted by it
        self._styles: dict[str, StyleSource] = {}  # its analyses

    def transfer(self, job: Job, callback: Callback) -> dict[str, Any]:
        """Compute a pair, publish its output, and return its record."""
        options = self._request
        pair, config = job.pair, job.pair.variant.config
        paths = pair.content.path, pair.style.path, job.output
        request = options.transfer_request(*paths, pair.variant.preset)
        network = config.network, config.weights
        if network not in self._checked:
            weights.check_weights(*network)
            device.load_tensorflow(quiet=not options.verbose)
            self._checked.add(network)
        style_transfer = self._transfers.get(config)
        style = self._analyze_style(job, style_transfer, callback)
        atomic_files.make_folder(job.output.parent)
        _, record = transfer.run_transfer(request, config, callback, style_transfer, [style])
        _check_inputs(job, record)
        return record

    def evaluate(self, job: Job) -> dict[str, Any]:
        """Return the scores of an existing output, as from `audiostyle.evaluate`."""
        from audiostyle.evaluation import evaluate_files
        from audiostyle.evaluation.types import EvaluationRequest

        pair = job.pair
        report = evaluate_files.run_evaluation(
            EvaluationRequest(pair.content.path, pair.style.path, [job.output])
        )
        if report.failed:
            raise AudioFileError(report.failed[0]["reason"])
        return report.scores[0].measures

    def clear(self) -> None:
        """Free the memory of the style, which can be analysed again."""
        self._styles.clear()
        gc.collect()

    def _analyze_style(
        self, job: Job, style_transfer: StyleTransfer, callback: Callback
    ) -> StyleSource:
        """Analyse the style of a job, unless that was done for the last job with this style."""
        style, config = job.pair.style, job.pair.variant.config
        if style.clips != self._clips:
            self._styles.clear()
            self._clips = style.clips
        key = analysis_key(config)
        if key not in self._styles:
            if is_style_file(style.clips[0]):
                source = transfer.find_style_source(style.clips[0], 1.0, config)
            else:
                clips, skipped = list(style.clips), list(style.skipped)
                source = StyleSource(style.path, 1.0, clips, skipped=skipped)
            analyzed = style_transfer.analyze_style(source.as_style(config), callback)
            self._styles[key] = replace(source, analyzed=lambda: analyzed)
        return self._styles[key]


def _check_inputs(job: Job, record: dict[str, Any]) -> None:
    """Remove the output and raise an error if its inputs are not the planned ones."""
    used = [record["content"]]
    for style in record["styles"]:
        used += [style] if "sha256" in style else style["clips"]
    for entry in used:
        expected = job.digests.get(os.path.abspath(entry["path"]))
        if expected is not None and entry["sha256"] != expected:
            job.output.unlink(missing_ok=True)
            raise AudioFileError(
                f"{entry['path']}: changed while the batch ran; run it again", kind="changed"
            )
