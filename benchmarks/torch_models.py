"""ResNet-50 and MobileNetV2 in PyTorch, fp16 and channels last, timed in a CUDA graph."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.stages import MOBILENETV2, RESNET50

RUNS = 30


def is_here() -> bool:
    """Whether PyTorch and a CUDA GPU are."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


def version() -> str:
    """Of PyTorch."""
    import torch

    return str(torch.__version__)


def gpu_us(network: str, batch: int) -> float:
    """The median GPU time of one batch of 224 x 224 images that lie on the device."""
    import torch

    with torch.inference_mode():
        model = NETWORKS[network]().cuda().half().to(memory_format=torch.channels_last).eval()
        x = torch.randn(batch, 3, 224, 224, device="cuda", dtype=torch.half)
        x = x.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                model(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            model(x)
        for _ in range(RUNS):
            graph.replay()
        times = []
        for _ in range(RUNS):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) * 1e3)
        del graph
    torch.cuda.empty_cache()
    return statistics.median(times)


def _unit(channels: int, filters: int, kernel: int, stride: int, groups: int, act: Any) -> Any:
    """Convolution and activation; batch normalisation is part of the weights, as it is in ours."""
    from torch import nn

    conv = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups)
    return nn.Sequential(conv, act) if act is not None else conv


def _residual(body: Any, shortcut: Any, act: Any) -> Any:
    from torch import nn

    class Residual(nn.Module):  # type: ignore[misc]
        """act(body(x) + shortcut(x))."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.shortcut, self.act = body, shortcut, act

        def forward(self, x: Any) -> Any:
            """One block."""
            return self.act(self.body(x) + self.shortcut(x))

    return Residual()


def _resnet50() -> Any:
    from torch import nn

    layers: list[Any] = [_unit(3, 64, 7, 2, 1, nn.ReLU(True)), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for stage, (width, blocks) in enumerate(RESNET50):
        for block in range(blocks):
            stride = 2 if stage and block == 0 else 1
            body = nn.Sequential(
                _unit(channels, width, 1, 1, 1, nn.ReLU(True)),
                _unit(width, width, 3, stride, 1, nn.ReLU(True)),
                _unit(width, 4 * width, 1, 1, 1, None),
            )
            plain = nn.Identity()
            shortcut = _unit(channels, 4 * width, 1, stride, 1, None) if block == 0 else plain
            layers.append(_residual(body, shortcut, nn.ReLU(True)))
            channels = 4 * width
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*layers, *tail)


def _mobilenetv2() -> Any:
    from torch import nn

    layers: list[Any] = [_unit(3, 32, 3, 2, 1, nn.ReLU6(True))]
    channels = 32
    for expand, filters, blocks, first_stride in MOBILENETV2:
        for block in range(blocks):
            wide = channels * expand
            first = [_unit(channels, wide, 1, 1, 1, nn.ReLU6(True))] if expand > 1 else []
            stride = first_stride if block == 0 else 1
            body = nn.Sequential(
                *first,
                _unit(wide, wide, 3, stride, wide, nn.ReLU6(True)),
                _unit(wide, filters, 1, 1, 1, None),
            )
            layers.append(_residual(body, nn.Identity(), nn.Identity()) if block else body)
            channels = filters
    layers.append(_unit(channels, 1280, 1, 1, 1, nn.ReLU6(True)))
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers, *tail)


NETWORKS: dict[str, Callable[[], Any]] = {"resnet50": _resnet50, "mobilenetv2": _mobilenetv2}
