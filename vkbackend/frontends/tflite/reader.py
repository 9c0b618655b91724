"""A .tflite file as small typed records: what the rest of the frontend reads instead of tables."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from vkbackend.errors import FormatError, VkBackendError
from vkbackend.frontends.tflite.options import DEFAULTS, OPTIONS, Option
from vkbackend.graph import Array, Shape

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """One tensor: NumPy's name of its type; its values where they stand in the file.

    `scales` float32 and `zero_points` int64 are of one dimension, empty where nothing is quantised;
    several belong to the indices along `axis`.
    """

    index: int
    name: str
    shape: Shape
    dtype: str
    scales: npt.NDArray[np.float32]
    zero_points: npt.NDArray[np.int64]
    axis: int
    data: Array | None
    is_sparse: bool

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, eq=False)
class TfliteOperator:
    """One operator; an omitted optional input is -1. `options` holds what options.OPTIONS names."""

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Option]

    @property
    def name(self) -> str:
        """A short name of its own: files give operators none."""
        return f"{self.kind.lower()}_{self.index}"

    def has_input(self, position: int) -> bool:
        """Whether that input is there and not omitted."""
        return position < len(self.inputs) and self.inputs[position] >= 0

    def integer(self, name: str) -> int:
        """An option that is a whole number, an enumeration or a truth value."""
        return int(self.options[name])

    def real(self, name: str) -> float:
        """An option that is a float32."""
        return float(self.options[name])


@dataclass(frozen=True, eq=False)
class TfliteModel:
    """The main subgraph of a file: operators in order; inputs and outputs as tensor indices."""

    source: str
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def import_tflite() -> ModuleType:
    """The tflite package. Raises VkBackendError that says how to get it."""
    try:
        import tflite
    except ImportError as error:
        raise VkBackendError(
            f"reading .tflite files needs the tflite package, which cannot be imported ({error}): "
            'pip install "vkbackend[tflite]"'
        ) from error
    module: ModuleType = tflite
    return module


def read(source: str | os.PathLike[str] | bytes) -> TfliteModel:
    """Reads a file, or the bytes of one.

    Raises FormatError on a damaged one, OSError on one that cannot be opened.
    """
    library = import_tflite()
    if isinstance(source, bytes):
        name, content = "the .tflite model", source
    else:
        name, content = str(source), Path(source).read_bytes()
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise FormatError(f"{name}: this is no .tflite file: its bytes 4 to 7 are not TFL3")
    try:
        return _Reader(library, name, content).model()
    except FormatError as error:
        raise FormatError(f"{name}: {error}; download or convert it again") from None
    except Exception as error:  # broken offsets end in struct.error, IndexError, ValueError ...
        raise FormatError(
            f"{name}: this .tflite file is damaged ({type(error).__name__}: {error}); "
            "download or convert it again"
        ) from error


class _Reader:
    """Walks the tables of one file."""

    def __init__(self, library: ModuleType, name: str, content: bytes) -> None:
        self._name = name
        self._content = content
        self._library = library
        self._root = library.Model.GetRootAs(content, 0)
        self._kinds = _names(library.BuiltinOperator)
        self._types = _names(library.TensorType)
        self._option_types = vars(library.BuiltinOptions)

    def model(self) -> TfliteModel:
        if self._root.Version() != SCHEMA_VERSION:
            raise FormatError(f"schema version {self._root.Version()}, not {SCHEMA_VERSION}")
        graph = self._root.Subgraphs(0) if self._root.SubgraphsLength() else None
        if graph is None:
            raise FormatError("it holds no network")
        raw_names = [_text(graph.Tensors(i).Name()) for i in range(graph.TensorsLength())]
        names = _unique(raw_names)
        tensors = tuple(self._tensor(graph.Tensors(i), i, name) for i, name in enumerate(names))
        operators = tuple(
            self._operator(graph.Operators(i), i, len(tensors))
            for i in range(graph.OperatorsLength())
        )
        inputs = _indices(graph.InputsLength(), graph.Inputs, len(tensors), "the network")
        outputs = _indices(graph.OutputsLength(), graph.Outputs, len(tensors), "the network")
        return TfliteModel(self._name, tensors, operators, inputs, outputs)

    def _tensor(self, table: Any, index: int, name: str) -> TfliteTensor:
        shape = tuple(int(table.Shape(i)) for i in range(table.ShapeLength()))
        dtype = self._types.get(table.Type(), f"type {table.Type()}").lower()
        quantization = table.Quantization()
        scales, zero_points, axis = np.empty(0, np.float32), np.empty(0, np.int64), 0
        if quantization is not None and quantization.ScaleLength():
            scales = np.array(quantization.ScaleAsNumpy(), np.float32)
            zero_points = np.zeros(scales.size, np.int64)
            if quantization.ZeroPointLength():
                stored = np.array(quantization.ZeroPointAsNumpy(), np.int64)
                if stored.size not in (1, scales.size):
                    raise FormatError(f"tensor {name!r} has {stored.size} zero points")
                zero_points = np.array(np.broadcast_to(stored, scales.shape))
            axis = quantization.QuantizedDimension()
        data = self._data(table.Buffer(), name, shape, dtype)
        is_sparse = table.Sparsity() is not None
        return TfliteTensor(index, name, shape, dtype, scales, zero_points, axis, data, is_sparse)

    def _data(self, number: int, name: str, shape: Shape, dtype: str) -> Array | None:
        """The values that stand in a buffer, or None where it is empty: buffer 0 always is."""
        if not 0 <= number < self._root.BuffersLength():
            raise FormatError(f"tensor {name!r} names buffer {number}, which is not there")
        buffer = self._root.Buffers(number)
        raw = buffer.DataAsNumpy() if buffer.DataLength() else None
        # Files beyond 2 GiB hold their buffers behind the tables.
        if raw is None and hasattr(buffer, "Offset") and buffer.Offset() > 1:
            end = buffer.Offset() + buffer.Size()
            raw = np.frombuffer(self._content[buffer.Offset() : end], np.uint8)
        if raw is None or dtype not in _DTYPES:
            return None
        count = int(np.prod(shape, dtype=np.int64)) if min(shape, default=1) >= 0 else -1
        if raw.size != count * np.dtype(dtype).itemsize:
            raise FormatError(
                f"tensor {name!r} is {dtype}{list(shape)}, its buffer has {raw.size} bytes"
            )
        values: Array = np.frombuffer(raw.tobytes(), dtype).reshape(shape)
        return values

    def _operator(self, table: Any, index: int, tensor_count: int) -> TfliteOperator:
        if not 0 <= table.OpcodeIndex() < self._root.OperatorCodesLength():
            raise FormatError(f"operator {index} has no operator code")
        code = self._root.OperatorCodes(table.OpcodeIndex())
        # Codes above 127 stand in a newer field; old files have the old one alone.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        kind = self._kinds.get(number, f"operator {number}")
        if kind == "CUSTOM":
            kind = f"CUSTOM {_text(code.CustomCode())}"
        where = f"operator {index}"
        return TfliteOperator(
            index,
            kind,
            _indices(table.InputsLength(), table.Inputs, tensor_count, where, optional=True),
            _indices(table.OutputsLength(), table.Outputs, tensor_count, where),
            self._options(table, kind),
        )

    def _options(self, table: Any, kind: str) -> Mapping[str, Option]:
        if kind not in OPTIONS:
            return {}
        options_type, names = OPTIONS[kind]
        stored = table.BuiltinOptions()
        if stored is None or table.BuiltinOptionsType() != self._option_types[options_type]:
            return {name: DEFAULTS.get(name, 0) for name in names}
        options = getattr(self._library, options_type)()
        options.Init(stored.Bytes, stored.Pos)
        return {name: _get(options, name) for name in names}


def _get(options: Any, name: str) -> Option:
    """A field of an options table; its default where the package's schema is older."""
    accessor = "".join(word.capitalize() for word in name.split("_"))
    value: Option = getattr(options, accessor, lambda: DEFAULTS.get(name, 0))()
    return value


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", "replace")


def _unique(names: list[str]) -> list[str]:
    """Names as they are where each stands for one tensor, else with the tensor's index."""
    counts = Counter(names)
    return [
        name if name and counts[name] == 1 else f"{name or 'tensor'}#{index}"
        for index, name in enumerate(names)
    ]


def _indices(
    count: int, get: Any, tensor_count: int, where: str, *, optional: bool = False
) -> tuple[int, ...]:
    found = tuple(int(get(i)) for i in range(count))
    least = -1 if optional else 0
    for index in found:
        if not least <= index < tensor_count:
            raise FormatError(f"{where} names tensor {index}, which is not there")
    return found


_DTYPES = ("float32", "float16", "int32", "uint8", "int64", "bool", "int16", "int8", "float64")
