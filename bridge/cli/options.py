"""What the commands of the command line have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:  # a parser needs no pydantic
    from bridge.settings import Settings
    from bridge.settings.loading import Configuration, Places

__all__ = ["ExitCode", "Parser", "add_settings", "command", "configuration_of", "number", "places_of", "settings_of"]


class ExitCode(IntEnum):
    """What a command tells the shell."""

    DONE = 0
    FAILED = 1
    BAD_CONFIGURATION = 2
    FAULT_FOUND = 3
    INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2, without the usage: it would push the message off the screen of who mistyped."""
        self.exit(ExitCode.BAD_CONFIGURATION, f"lens-bridge: {message}; see {self.prog} --help\n")


Command = Callable[[argparse.Namespace], ExitCode]
Number = TypeVar("Number", int, float)

_FLAGS = {
    "redis_url": "redis.url",
    "base_url": "source.base_url",
    "sessions": "sessions",
    "log_level": "log.level",
    "log_format": "log.format",
    "port": "admin.port",
    "serve_host": "serve.host",
    "serve_port": "serve.port",
}


def command(commands: Any, name: str, run: Command, summary: str, text: str = "") -> argparse.ArgumentParser:
    """Add a command. ``text`` is what its help says below the options: what it prints, and examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def number(kind: type[Number], low: Number, high: Number) -> Callable[[str], Number]:
    """For the ``type`` of an argument: a number from ``low`` to ``high``."""

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"use {low} to {high}, not {text!r}")
        return value

    return read


def add_settings(parser: argparse.ArgumentParser, *, worker: bool = True) -> None:
    """The flags that stand for settings. ``worker``: also those that only a worker has a use for."""
    group = parser.add_argument_group("settings", "Each overrides its environment variable and the file.")
    group.add_argument("--config", type=Path, metavar="FILE", help="YAML file (or BRIDGE_CONFIG)")
    group.add_argument("--redis-url", metavar="URL", help="redis.url; pass a password by environment or file instead")
    group.add_argument("--sessions", metavar="NAME=ID,...", help="the sessions")
    if worker:
        group.add_argument("--base-url", metavar="URL", help="source.base_url")
        group.add_argument("--log-level", choices=("debug", "info", "warning", "error"))
        group.add_argument("--log-format", choices=("auto", "json", "console"))


def places_of(options: argparse.Namespace) -> Places:
    """Where the settings come from."""
    from bridge.settings.loading import Places

    return Places(
        config_file=options.config, flags={path: getattr(options, name, None) for name, path in _FLAGS.items()}
    )


def configuration_of(options: argparse.Namespace) -> Configuration:
    """The merged settings, what is odd about them, and where each comes from. Raises ConfigurationError."""
    return places_of(options).read()


def settings_of(options: argparse.Namespace) -> Settings:
    """The merged settings. Raises ConfigurationError."""
    return configuration_of(options).settings
