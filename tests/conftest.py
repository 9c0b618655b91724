"""For all tests: the Vulkan drivers that the loader sees, and a cache folder of their own."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

SWIFTSHADER = Path(__file__).parent.parent / ".tools/swiftshader/vk_swiftshader_icd.json"

# The loader reads these when the first instance is made. What was asked for by hand is left alone.
if SWIFTSHADER.is_file() and not {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"} & os.environ.keys():
    os.environ.setdefault("VK_ADD_DRIVER_FILES", str(SWIFTSHADER))

# Verdicts and pipelines of earlier runs must not decide what is tested.
_cache = tempfile.TemporaryDirectory(prefix="vkbackend-tests-")
os.environ["VKBACKEND_CACHE_DIR"] = _cache.name


@pytest.fixture(scope="session")
def folder(pytestconfig: pytest.Config) -> Path:
    """Where quantised networks are kept from run to run."""
    return Path(str(pytestconfig.cache.mkdir("networks")))  # type: ignore[union-attr]
