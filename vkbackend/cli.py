"""The command line: `vkbackend COMMAND ...`; the commands themselves are in `commands/`."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

import vkbackend
from vkbackend.commands import COMMANDS
from vkbackend.errors import VkBackendError

# As a shell reports a program that a signal ended.
INTERRUPTED = 130
BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code: 0, 1 on an error, 2 on wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            code: int = options.run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Python would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (VkBackendError, OSError) as error:
        print(f"vkbackend: error: {_message(error)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vkbackend",
        description="Runs int8-quantised convolutional networks on any Vulkan GPU.",
        epilog="vkbackend COMMAND -h explains a command, with an example.",
    )
    parser.add_argument("--version", action="version", version=f"vkbackend {vkbackend.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(
            name,
            help=command.SUMMARY,
            description=f"{command.SUMMARY[0].upper()}{command.SUMMARY[1:]}.",
            epilog=_epilog(command.EXAMPLE),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_options(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _epilog(example: str) -> str:
    lines = example.splitlines()
    return "\n".join(["examples:" if len(lines) > 1 else "example:", *(f"  {x}" for x in lines)])


def _show_warning(message: Warning | str, *_: object) -> None:
    print(f"vkbackend: warning: {message}", file=sys.stderr)
