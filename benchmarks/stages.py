"""Stages of well-known networks: what every builder of them goes by."""

from __future__ import annotations

# ResNet-50 (He et al. 2015, table 1): width of a stage's bottleneck, blocks.
RESNET50 = ((64, 3), (128, 4), (256, 6), (512, 3))

# MobileNetV2 1.0 (Sandler et al. 2018, table 2): expansion, channels, blocks, first stride.
MOBILENETV2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
