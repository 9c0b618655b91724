"""One module per command: SUMMARY, EXAMPLE, add_options(parser), and run(options) -> exit code."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Protocol

from vkbackend.commands import bench, check, demo, devices, explain, export, inspect, run, tune


class Command(Protocol):
    """What each of these modules is."""

    SUMMARY: str
    EXAMPLE: str

    def add_options(self, parser: ArgumentParser) -> None:
        """Declares the command's arguments."""

    def run(self, options: Namespace) -> int:
        """Does the work and prints; returns the exit code. Raises VkBackendError and OSError."""


COMMANDS: dict[str, Command] = {
    "devices": devices,
    "export": export,
    "explain": explain,
    "run": run,
    "check": check,
    "bench": bench,
    "tune": tune,
    "inspect": inspect,
    "demo": demo,
}
