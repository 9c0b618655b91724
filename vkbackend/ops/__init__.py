"""Every operator, by the name it has in files and messages: one line each."""

from vkbackend.ops.base import Operator
from vkbackend.ops.binary import Binary
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.linear import Linear
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.quantize import Quantize
from vkbackend.ops.relayout import Relayout
from vkbackend.ops.reshape import Reshape

OPERATORS: dict[str, type[Operator]] = {
    operator.kind: operator
    for operator in (
        Binary,
        Conv2d,
        Dequantize,
        GlobalAveragePool,
        Linear,
        Lookup,
        MaxPool,
        Quantize,
        Relayout,
        Reshape,
    )
}
