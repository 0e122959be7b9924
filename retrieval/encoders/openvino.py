"""Exported open_clip models run by OpenVINO: the image tower only, for indexing.

OpenVINO reads the same files, and its vectors go under the same id: whether they are the same
is measured on each machine before it is used (`indexer.runtimes`).
"""

from __future__ import annotations

import queue
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from retrieval.encoders.onnx import OnnxEncoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.types import Vectors

REPORTING = "openvino_telemetry"


class OpenVinoEncoder(OnnxEncoder):
    """The same model by OpenVINO: as many batches at once as there are cores, one core each."""

    runtime = "openvino"

    def _look(self, pixels: NDArray[np.uint8]) -> Vectors:
        with self._lock:
            requests = self._requests
        request = requests.get()
        try:
            # A copy: the request's own memory is written over by its next batch.
            return cast("Vectors", np.array(request.infer({0: pixels})[0]))
        finally:
            requests.put(request)

    @cached_property
    def _requests(self) -> queue.SimpleQueue[Any]:
        openvino = _import_openvino()
        # The first array that it hands out sets up its binding to NumPy. Two threads that do so at once
        # wait for each other for ever, one with the interpreter's lock and one for it.
        openvino.Tensor(np.zeros(1, np.uint8)).data  # noqa: B018
        core = openvino.Core()
        compiled = core.compile_model(
            core.read_model(self.export.folder / "image.onnx"),
            "CPU",
            {
                "NUM_STREAMS": str(self.parallel),
                "INFERENCE_NUM_THREADS": str(self.parallel),
                # Where a processor has bfloat16, OpenVINO would take it by itself: other vectors.
                "INFERENCE_PRECISION_HINT": "f32",
                # The loading processes run on the same cores.
                "ENABLE_CPU_PINNING": "NO",
            },
        )
        requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.parallel):
            requests.put(compiled.create_infer_request())
        return requests


def _import_openvino() -> Any:
    """The package, without its habit of telling its makers on the web that it was imported.

    It does so at import through a package of its own, and goes without where there is none.
    """
    if "openvino" in sys.modules or REPORTING in sys.modules:
        import openvino

        return openvino
    sys.modules[REPORTING] = cast("Any", None)
    try:
        import openvino
    finally:
        del sys.modules[REPORTING]
    return openvino
