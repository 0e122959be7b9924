"""Writes an ONNX graph without the onnx package: the few protobuf messages it takes.

Field numbers are those of `onnx.proto3`. Only what the starter's network needs is here:
tensors stored as raw bytes, and attributes that are integers or lists of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 17
TYPES = {"float32": 1, "uint8": 2, "int64": 7}

Dims = tuple[int | str, ...]


class GraphWriter:
    """Collects nodes and constants in order, then writes the model in one go."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []
        self._inputs: list[bytes] = []
        self._outputs: list[bytes] = []

    def constant(self, name: str, value: NDArray[Any]) -> str:
        body = b"".join(_integer(1, size) for size in value.shape)
        body += _integer(2, TYPES[str(value.dtype)]) + _text(8, name)
        body += _bytes(9, np.ascontiguousarray(value).tobytes())
        self._constants.append(_bytes(5, body))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: int | list[int]) -> str:
        body = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(3, output)
        body += _text(4, operator)
        body += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(_bytes(1, body))
        return output

    def input(self, name: str, kind: str, dims: Dims) -> str:
        self._inputs.append(_bytes(11, _value_info(name, kind, dims)))
        return name

    def output(self, name: str, kind: str, dims: Dims) -> None:
        self._outputs.append(_bytes(12, _value_info(name, kind, dims)))

    def write(self, path: Path, *, producer: str) -> None:
        graph = b"".join(self._nodes) + _text(2, producer)
        graph += b"".join(self._constants + self._inputs + self._outputs)
        opset = _text(1, "") + _integer(2, OPSET)
        path.write_bytes(_integer(1, IR_VERSION) + _text(2, producer) + _bytes(7, graph) + _bytes(8, opset))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, 2)
    return _text(1, name) + b"".join(_integer(8, item) for item in value) + _integer(20, 7)


def _value_info(name: str, kind: str, dims: Dims) -> bytes:
    sizes = b"".join(
        _bytes(1, _integer(1, size) if isinstance(size, int) else _text(2, size)) for size in dims
    )
    tensor = _integer(1, TYPES[kind]) + _bytes(2, sizes)
    return _text(1, name) + _bytes(2, _bytes(1, tensor))
