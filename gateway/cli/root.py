"""The command itself: what there is, and how errors end it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

import gateway
from gateway.errors import GatewayError, SettingsError, StoreError

OK, FAILED, USAGE, STORE, SETTINGS, FAULT = 0, 1, 2, 3, 4, 70
COMMANDS = {
    "serve": ("serve", "Run the gateway."),
    "templates": ("templates", "Show which vendors' webhooks can be read."),
    "integrations": ("integrations", "Add, show and change endpoints that webhooks are posted to."),
    "users": ("users", "Add and list people to notify."),
    "groups": ("groups", "Add and list recipient groups: who is notified together."),
    "policies": ("policies", "Add and list escalation policies: who is notified, and when."),
    "maintenance": ("maintenance", "Maintenance windows: when an integration opens no alerts."),
    "alerts": ("alerts", "List, show, assign and close alerts."),
    "messages": ("messages", "The Inbound Log: what came in, what became of it; replay."),
    "notifications": ("notifications", "Who was told, and who could not be; try again."),
    "send": ("send", "Post a sample of a template to an endpoint."),
    "config": ("configuration", "The whole configuration as one file: export, check, diff, apply."),
    "try": ("dry_run", "Explain what a webhook's body would do, without a gateway."),
    "dry-run": ("rehearse", "What messages would do with settings that are not saved."),
    "plugins": ("plugins", "Make, check, install and list plugins."),
    "doctor": ("doctor", "Check this installation, and say what to do."),
}
"""Each command: its module, and its line in the help. Reading the help imports none of them."""

EPILOG = """\
First steps:
  alert-gateway serve                                     start it; it prints URLs to post to
  alert-gateway integrations add custom --name Backups    another endpoint, and a curl to try it
  alert-gateway alerts list                               what is not closed
  alert-gateway messages list                             what came in, and what became of it

Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 the store cannot be used, 4 a setting is wrong,
70 a fault of the gateway. Every command takes --data DIR, --json and --help.
"""


class Root(click.Group):
    """Imports a command's module when the command is asked for; plugins' commands come after our own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's contract
        """All names."""
        return [*COMMANDS, *(name for name in _plugin_commands() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's contract
        """One command; plugins are asked only where it is none of ours."""
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"gateway.cli.{COMMANDS[cmd_name][0]}")
            command: click.Command = module.command
            return command
        return _plugin_commands().get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """The list in the help, without importing what is in it."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
        others = {name: command for name, command in _plugin_commands().items() if name not in COMMANDS}
        if others:
            with formatter.section("Commands of plugins"):
                formatter.write_dl([(name, command.get_short_help_str()) for name, command in others.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - the same
        """First steps, as they are written."""
        formatter.write_paragraph()
        formatter.write(EPILOG)


@click.group(cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(gateway.__version__, prog_name="alert-gateway")
def root() -> None:
    """Alert Gateway: webhooks in, alerts opened and closed, the right people told."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. What goes wrong is one line on stderr: what, where, what to do."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in given
    if sys.stdout is None:  # it was closed by whoever started this
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process lasts
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = root.main(args=given, prog_name="alert-gateway", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        message, code = _said(error)
        if code == FAULT and os.environ.get("GATEWAY_LOG_LEVEL", "").lower() == "debug":
            raise
        return _complain(message, code, as_json=as_json)
    return code if isinstance(code, int) else OK


def _said(error: Exception) -> tuple[str, int]:
    """What is said of an error, and the exit code."""
    if isinstance(error, click.UsageError):
        where = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
        return f"{error.format_message().rstrip('.')}{where}", USAGE
    if isinstance(error, click.ClickException):
        return error.format_message(), FAILED
    for kind, code in ((SettingsError, SETTINGS), (StoreError, STORE), (GatewayError, FAILED)):
        if isinstance(error, kind):
            return str(error), code
    from gateway.template import describe

    return f"a fault of the gateway itself: {describe(error)}; GATEWAY_LOG_LEVEL=debug shows where", FAULT


def _complain(message: str, code: int, *, as_json: bool) -> int:
    from gateway.cli.output import cell

    message = message.encode("utf-8", "backslashreplace").decode()  # an argument may hold what is no text
    if as_json:
        print(msgspec.json.encode({"error": message, "code": code}).decode(), file=sys.stderr)
    else:
        print(f"error: {cell(message)}", file=sys.stderr)
    return code


def _plugin_commands() -> dict[str, click.Command]:
    """The commands that plugins add. Plugins' code is imported only where one is installed that is more than templates."""
    from gateway.config import load

    try:
        settings = load()
    except SettingsError:
        return {}
    others = settings.plugins_dir is not None and any(settings.plugins_dir.glob("*.py"))
    if not others and not importlib.metadata.entry_points(group="gateway.plugins"):
        return {}  # known without importing what loads plugins, since that takes time
    from gateway.loader import load_plugins

    if not any(
        info.origin != "built-in" and not info.templates and not info.error for info in load_plugins(settings).infos
    ):
        return {}
    found: dict[str, click.Command] = {}
    for impl in load_plugins(settings, code=True).manager.hook.register_commands.get_hookimpls():
        group = click.Group()
        try:
            impl.function(**dict.fromkeys(impl.argnames, group))
        except Exception as error:  # noqa: BLE001 - one plugin's fault must not cost the others their commands
            print(f"note: commands of the plugin {impl.plugin_name} are left out: {error}", file=sys.stderr)
            continue
        found = {**group.commands, **found}
    return found
