"""Every operator, by the name it has in files and messages: one line each."""

from vkbackend.ops.average_pool import AveragePool
from vkbackend.ops.base import Operator
from vkbackend.ops.binary import Binary
from vkbackend.ops.clone import Clone
from vkbackend.ops.constant import Constant
from vkbackend.ops.conv2d import Conv2d
from vkbackend.ops.dequantize import Dequantize
from vkbackend.ops.float_binary import FloatBinary
from vkbackend.ops.float_mean import FloatMean
from vkbackend.ops.float_softmax import FloatSoftmax
from vkbackend.ops.float_unary import FloatUnary
from vkbackend.ops.global_average_pool import GlobalAveragePool
from vkbackend.ops.hold import Hold
from vkbackend.ops.linear import Linear
from vkbackend.ops.lookup import Lookup
from vkbackend.ops.lookup_float import LookupFloat
from vkbackend.ops.max_pool import MaxPool
from vkbackend.ops.mean import Mean
from vkbackend.ops.mean_table import MeanTable
from vkbackend.ops.onnx_average_pool import OnnxAveragePool
from vkbackend.ops.onnx_resize import OnnxResize
from vkbackend.ops.onnx_softmax import OnnxSoftmax
from vkbackend.ops.pad import Pad
from vkbackend.ops.quantize import Quantize
from vkbackend.ops.rearrange import Rearrange
from vkbackend.ops.relayout import Relayout
from vkbackend.ops.reshape import Reshape
from vkbackend.ops.resize import Resize
from vkbackend.ops.softmax import Softmax
from vkbackend.ops.softmax_float import SoftmaxFloat
from vkbackend.ops.strided_copy import StridedCopy
from vkbackend.ops.window_pad import WindowPad

OPERATORS: dict[str, type[Operator]] = {
    operator.kind: operator
    for operator in (
        AveragePool,
        Binary,
        Clone,
        Constant,
        Conv2d,
        Dequantize,
        FloatBinary,
        FloatMean,
        FloatSoftmax,
        FloatUnary,
        GlobalAveragePool,
        Hold,
        Linear,
        Lookup,
        LookupFloat,
        MaxPool,
        Mean,
        MeanTable,
        OnnxAveragePool,
        OnnxResize,
        OnnxSoftmax,
        Pad,
        Quantize,
        Rearrange,
        Relayout,
        Reshape,
        Resize,
        Softmax,
        SoftmaxFloat,
        StridedCopy,
        WindowPad,
    )
}
