"""`lens-bridge config`: what is in force, what can be set, and a file to begin with."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bridge.cli.options import ExitCode, add_settings, command, configuration_of

if TYPE_CHECKING:
    from bridge.settings.loading import Configuration

__all__ = ["add_config_commands"]

_CONFIG = """\
examples:
  lens-bridge config show                  what is in force, from flags, environment, files and defaults
  lens-bridge config show --origins        the same as a table that says where each value comes from
  lens-bridge config defaults > bridge.yaml
                                           a file to begin with: every setting, its default and the reason for it
  lens-bridge config schema                for editors and for checks of a file before it is deployed
  lens-bridge config contract              the JSON schema of entries, markers and dead letters, for those who read them
  lens-bridge config asyncapi              the same as an AsyncAPI document, with the streams they stand in
"""


_SHOW = """\
JSON on standard output, warnings on standard error. With --origins a table: FROM is `flag`, the name of a variable, a
file (with its line for YAML), or `default`; with --json beside it the same as JSON.

examples:
  lens-bridge config show | jq .redis
  lens-bridge config show --origins
  lens-bridge config show --origins --json | jq -r 'to_entries[] | select(.value.from != "default") | .key'

exit codes: 0 it is valid, 2 it is not: a line for each mistake
"""

_SCHEMA = """\
examples:
  lens-bridge config schema > schema.json

exit codes: 0
"""

_DEFAULTS = """\
examples:
  lens-bridge config defaults > bridge.yaml

exit codes: 0
"""

_CONTRACT = """\
examples:
  lens-bridge config contract > contract.schema.json

exit codes: 0
"""

_ASYNCAPI = """\
examples:
  lens-bridge config asyncapi > asyncapi.yaml

exit codes: 0
"""


def add_config_commands(commands: Any) -> None:
    """Add its views."""
    config = command(commands, "config", _show, "see the configuration", _CONFIG)
    views = config.add_subparsers(title="views", required=True, metavar="VIEW")
    show = command(views, "show", _show, "the merged configuration as JSON, secrets masked", _SHOW)
    show.add_argument("--origins", action="store_true", help="a table instead, with where each value comes from")
    show.add_argument("--json", action="store_true", help="of --origins; without them it is JSON anyway")
    add_settings(show)
    command(views, "schema", _schema, "the JSON schema of the configuration file", _SCHEMA)
    command(views, "defaults", _defaults, "a configuration file with every setting, its default and reason", _DEFAULTS)
    command(views, "contract", _contract, "the JSON schema of what is written into Redis Streams", _CONTRACT)
    command(views, "asyncapi", _asyncapi, "the streams as an AsyncAPI document (YAML)", _ASYNCAPI)


def _show(options: argparse.Namespace) -> ExitCode:
    from bridge.settings.loading import masked

    configuration = configuration_of(options)
    for warning in configuration.warnings:
        print(f"lens-bridge: {warning}", file=sys.stderr)
    if options.origins and options.json:
        rows = {path: {"from": origin, "value": value} for path, origin, value in _rows(configuration)}
        print(json.dumps(rows, indent=2, default=str))
    elif options.origins:
        print(*_table(configuration), sep="\n")
    else:
        print(json.dumps(masked(configuration.settings), indent=2, default=str))
    return ExitCode.DONE


def _rows(configuration: Configuration) -> Iterator[tuple[str, str, Any]]:
    """Each setting, where its value comes from, and that."""
    from bridge.settings.loading import masked

    values = masked(configuration.settings)
    for path, origin in configuration.origins.items():
        section, _, name = path.partition(".")
        yield path, origin, values[section][name] if name else values[section]


def _table(configuration: Configuration) -> Iterator[str]:
    """The value stands last: it may be long."""
    rows = [("SETTING", "FROM", "VALUE")]
    for path, origin, value in _rows(configuration):
        rows.append((path, origin, value if isinstance(value, str) else json.dumps(value)))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for setting, origin, value in rows:
        yield f"{setting:{first}}  {origin:{second}}  {value}"


def _schema(options: argparse.Namespace) -> ExitCode:
    from bridge.settings.loading import schema

    print(json.dumps(schema(), indent=2))
    return ExitCode.DONE


def _defaults(options: argparse.Namespace) -> ExitCode:
    from bridge.settings.loading import render_yaml

    print(render_yaml(), end="")
    return ExitCode.DONE


def _contract(options: argparse.Namespace) -> ExitCode:
    from bridge.contract.messages import schema

    print(json.dumps(schema(), indent=2))
    return ExitCode.DONE


def _asyncapi(options: argparse.Namespace) -> ExitCode:
    import yaml

    from bridge.contract.asyncapi import asyncapi

    print(yaml.safe_dump(asyncapi(), sort_keys=False, width=118, allow_unicode=True), end="")
    return ExitCode.DONE
