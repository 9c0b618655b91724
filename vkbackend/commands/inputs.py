"""Files as inputs of a network: .npy, .npz, and images as the input's size and type want them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from vkbackend.errors import InputError, VkBackendError
from vkbackend.graph import Array, Quantization
from vkbackend.signature import Port

MODES = {1: "L", 3: "RGB"}
USUAL_RANGES = ((0, 255), (-128, 127), (0, 1), (-1, 1))
RANGE_TOLERANCE = 0.02  # scales and zero points are rounded


@dataclass(frozen=True)
class Normalisation:
    """How a real value is made of a pixel: (pixel * scale - mean) / std, per channel."""

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


def read_inputs(
    files: Sequence[str],
    ports: Mapping[str, Port],
    normalisation: Normalisation | None,
    quantizations: Mapping[str, Quantization] | None = None,
) -> dict[str, Array]:
    """The inputs that `[NAME=]FILE` texts name. A file without a name is the next input's; an
    .npz holds inputs by name, or a single array. Raises InputError naming the file.
    """
    inputs: dict[str, Array] = {}
    for text in files:
        name, path = _split(text, ports)
        if path.suffix == ".npz":
            inputs.update(_read_npz(path, name, ports))
            continue
        name = name or next((port for port in ports if port not in inputs), "")
        if not name:
            raise InputError(f"{path} is one too many: the inputs are {', '.join(ports)}")
        if path.suffix == ".npy":
            inputs[name] = _numpy_load(path)
        else:
            quantization = (quantizations or {}).get(name)
            inputs[name] = read_image(path, ports[name], normalisation, quantization)
    return inputs


def _split(text: str, ports: Mapping[str, Port]) -> tuple[str, Path]:
    """NAME and FILE; a path with an equals sign in it stays whole."""
    name, _, file = text.partition("=")
    return (name, Path(file)) if file and name in ports else ("", Path(text))


def _read_npz(path: Path, name: str, ports: Mapping[str, Port]) -> dict[str, Array]:
    with _numpy_load(path) as archive:
        names = list(archive)
        known = [entry for entry in names if entry in ports]
        if known and not name:
            return {entry: archive[entry] for entry in known}
        if len(names) != 1:
            raise InputError(
                f"{path} holds {', '.join(names)}: one array, or arrays named as the network's "
                f"inputs ({', '.join(ports)}) are needed"
            )
        return {name or next(iter(ports)): archive[names[0]]}


def _numpy_load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, BadZipFile):
        raise InputError(f"{path} is not a NumPy file of plain arrays") from None


def read_image(
    path: Path, port: Port, normalisation: Normalisation | None, quantization: Quantization | None
) -> Array:
    """An image, resized to the input's height and width, as one input of a batch of one.

    A float input gets the normalised pixels, and so does a quantised one through its scale and
    zero point where a normalisation is given. Without one a uint8 input gets the pixels' values
    and an int8 input 128 less: networks are quantised so that those stand for 0 to 255, 0 to 1 or
    -1 to 1, whichever the network was trained on. A warning where they do not.
    Raises InputError where the input is no image, or the file none; VkBackendError without Pillow.
    """
    if len(port.shape) != 4:
        raise InputError(f"{path}: an image needs an input of four dimensions, this one is {port}")
    height, width = port.shape[2:] if port.axes == "NCHW" else port.shape[1:3]
    channels = port.shape[1] if port.axes == "NCHW" else port.shape[3]
    if channels not in MODES:
        raise InputError(f"{path}: an image has 1 or 3 channels, this input has {channels}")
    pixels = _pixels(path, MODES[channels], (width, height)).reshape(1, height, width, channels)
    values = _values(path, pixels, normalisation, quantization)
    return np.moveaxis(values, -1, 1) if port.axes == "NCHW" else values


def _pixels(path: Path, mode: str, size: tuple[int, int]) -> Array:
    try:
        pillow: Any = importlib.import_module("PIL.Image")
    except ImportError as error:
        raise VkBackendError(
            f"reading images needs Pillow, which cannot be imported ({error}): "
            'pip install "vkbackend[image]"'
        ) from None
    try:
        with pillow.open(path) as image:
            resized = image.convert(mode).resize(size, pillow.Resampling.BILINEAR)
            return np.asarray(resized, np.uint8)
    except pillow.UnidentifiedImageError:
        raise InputError(f"{path} is neither an image that Pillow reads nor .npy or .npz") from None


def _values(
    path: Path, pixels: Array, given: Normalisation | None, quantization: Quantization | None
) -> Array:
    if quantization is None:
        return _normalised(path, pixels, given or Normalisation()).astype(np.float32)
    low, high = quantization.range
    if given is None:
        _warn_of_unusual_range(path, quantization)
        return np.asarray(pixels.astype(np.int16) + low, quantization.dtype)
    stored = np.rint(_normalised(path, pixels, given) / quantization.scale)
    return np.asarray(np.clip(stored + quantization.zero_point, low, high), quantization.dtype)


def _normalised(path: Path, pixels: Array, how: Normalisation) -> Array:
    for option, values in (("--mean", how.mean), ("--std", how.std)):
        if len(values) not in (1, pixels.shape[-1]):
            raise InputError(
                f"{path}: {option} takes one number or one per channel ({pixels.shape[-1]}), "
                f"got {len(values)}"
            )
    scaled = pixels.astype(np.float64) * how.scale
    return np.asarray((scaled - np.array(how.mean)) / np.array(how.std))


def _warn_of_unusual_range(path: Path, quantization: Quantization) -> None:
    least, greatest = (
        (value - quantization.zero_point) * quantization.scale for value in quantization.range
    )
    tolerance = RANGE_TOLERANCE * (greatest - least)
    for low, high in USUAL_RANGES:
        if abs(least - low) <= tolerance and abs(greatest - high) <= tolerance:
            return
    warnings.warn(
        f"{path}: the input stands for {least:.3g} to {greatest:.3g}, none of the usual ranges of "
        "pixels: if the network was trained on normalised images, say how with --mean and --std",
        RuntimeWarning,
        stacklevel=2,
    )
