"""Three first transfers in three threads, and one in a forked process, in a process of their own.

python tests/support/environment_worker.py CONTENT STYLE
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import audiostyle  # and nothing else: the threads are the first to use what it loads

TINY: dict[str, Any] = {
    "precision": "float32",
    "n_fft": 1024,
    "hop_length": 256,
    "n_mels": 64,
    "bands": 4,
    "iterations": 2,
    "inversion_iterations": 2,
    "style_layers": (("block1_conv1", 1.0), ("block2_conv1", 1.0)),
}


def describe_descriptors() -> dict[int, tuple[int, int]]:
    """Return what the standard streams are, as the system knows them."""
    return {fd: (os.fstat(fd).st_dev, os.fstat(fd).st_ino) for fd in (0, 1, 2)}


def run_threads(content: str, style: str) -> list[str]:
    """Run a transfer in each of three threads, and return their errors."""
    errors: list[str] = []
    barrier = threading.Barrier(3)

    def run(i: int) -> None:
        barrier.wait()
        try:
            config = audiostyle.TransferConfig(**TINY)
            audiostyle.transfer_file(content, style, f"thread{i}.wav", config)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def run_forked(content: str, style: str) -> str:
    """Return the error of a transfer in a child that was forked after the first one."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            audiostyle.transfer_file(
                content, style, "forked.wav", audiostyle.TransferConfig(**TINY)
            )
        except Exception as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read()


if __name__ == "__main__":
    _, content, style = sys.argv
    found = {"before": describe_descriptors(), "errors": run_threads(content, style)}
    found |= {"after": describe_descriptors(), "forked": run_forked(content, style)}
    os.write(2, b"still there\n")
    print(json.dumps(found))
