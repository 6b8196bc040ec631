"""Opens ONNX graphs the same way everywhere: on the CPU, in a fixed order, so that equal inputs give equal scores."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from serving.errors import ModelUnreadable


def open_session(path: Path, intra_op_threads: int = 1) -> onnxruntime.InferenceSession:
    """A deterministic, sequential session. Raises ModelUnreadable naming the file.

    One thread is the default: a service scales by processes, and threads of several sessions would fight for the cores.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    # A pattern is kept for every shape that was ever met, and hardly two batches have the same: memory grows, time is not saved.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; they also arrive as exceptions
    if not path.is_file():
        raise ModelUnreadable(path, "there is no such file")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise ModelUnreadable(path, str(error).splitlines()[0]) from error
