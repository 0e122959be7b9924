"""What other people's packages would do by themselves, and may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import python

RUN = """
import sys
{first}
import numpy as np
import onnxruntime
from onnx import TensorProto, helper

given = helper.make_tensor_value_info("given", TensorProto.FLOAT, [1])
found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1])
graph = helper.make_graph([helper.make_node("Identity", ["given"], ["found"])], "same", [given], [found])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString()).run(None, {{"given": np.zeros(1, np.float32)}})
"""


@pytest.mark.parametrize("first", ["import retrieval", "from indexer import index_folder", "import cli"])
def test_onnx_runtime_keeps_no_statistics(tmp_path: Path, first: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    own = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = python(RUN.format(first=first), env={**environment, **own})
    assert result.returncode == 0, result.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
