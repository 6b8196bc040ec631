"""Opening graphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from serving.errors import ModelUnreadable
from serving.onnx_session import open_session


@pytest.fixture
def doubler(tmp_path: Path) -> Path:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_graph_runs(doubler: Path) -> None:
    (y_N,) = open_session(doubler).run(["y"], {"x": np.array([1, -2], np.float32)})
    assert y_N.tolist() == [2, -4]


def test_session_is_deterministic_and_sequential(doubler: Path) -> None:
    options = open_session(doubler, intra_op_threads=2).get_session_options()
    assert options.use_deterministic_compute
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_session_keeps_nothing_for_shapes_that_it_met(doubler: Path) -> None:
    assert not open_session(doubler).get_session_options().enable_mem_pattern


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelUnreadable, match=rf"model {path} cannot be loaded: .*(no such file|failed)"):
        open_session(path)
