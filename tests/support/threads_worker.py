"""A transfer with a number of threads, in a process that nothing else has started TensorFlow in.

python tests/threads_worker.py THREADS transfer CONTENT STYLE -o OUT ...
"""

from __future__ import annotations

import json
import sys
from typing import Any

import threadpoolctl

import audiostyle
from audiostyle.cli.main import main
from audiostyle.errors import ConfigError
from audiostyle.nn import device


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    """Return what a call is refused with; empty if it is not."""
    try:
        call(*arguments, **options)
    except ConfigError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    threads, arguments = int(sys.argv[1]), sys.argv[2:]
    code: Any = None
    try:
        main([*arguments, f"--threads={threads}"])
    except SystemExit as end:
        code = end.code
    tf = device.load_tensorflow()
    content, style = arguments[1:3]
    found = {
        "code": code,
        "intra": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter": tf.config.threading.get_inter_op_parallelism_threads(),
        "libraries": [library["num_threads"] for library in threadpoolctl.threadpool_info()],
        "same": refusal(device.choose_device, "cpu", threads),
        "default": refusal(device.choose_device, "cpu"),
        "other": refusal(device.choose_device, "cpu", threads + 1),
        "batch": refusal(audiostyle.run_batch, content, style, "batch", threads=threads + 1),
    }
    print(json.dumps(found))
