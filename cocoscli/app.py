"""The `cocos` command. Importing it imports neither torch nor numpy."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Annotated, NoReturn

import typer

import cocoscli
from cocoscli import console
from cocoscli.commands import weights
from cocoscli.commands.correspond import correspond
from cocoscli.commands.demo import demo
from cocoscli.commands.edit import edit
from cocoscli.commands.evaluate import evaluate
from cocoscli.commands.makeup import makeup
from cocoscli.commands.manual import Commands
from cocoscli.commands.options import Command
from cocoscli.commands.prepare import prepare
from cocoscli.commands.rank import rank
from cocoscli.commands.recipes import recipes
from cocoscli.commands.train import train
from cocoscli.commands.translate import translate
from cocoscli.data.wording import one_line
from cocoscli.errors import CocosError

INTERRUPTED = 130
_ParserError = typer.BadParameter.__base__
"""Every complaint of the command-line parser, whichever click Typer carries."""

app = typer.Typer(
    name="cocos",
    no_args_is_help=True,
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        import platform  # slow to load, and wanted here alone
        from importlib import metadata

        torch, python = metadata.version("torch"), platform.python_version()
        typer.echo(f"cocos {cocoscli.__version__} (torch {torch}, Python {python})")
        raise typer.Exit


@app.callback()
def cocos(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the versions.")
    ] = False,
) -> None:
    """Exemplar-based image translation with CoCosNet over large image sets.

    In a folder of its own each command takes what the one before has left:
    prepare, train, translate, evaluate. Each default that is taken is said
    first, with the flag that changes it.

    \b
    Examples:
      cocos demo
      cocos translate masks/ --exemplar photos/ --weights w.safetensors
      cocos translate --help

    \b
    Exit codes:
      0    all done
      1    could not start, or failed
      2    wrong usage
      3    finished, but items have failed; the manifest names each
      130  interrupted; the same command goes on from there

    Data goes to standard output, all else to standard error. COCOS_DEBUG=1
    shows the traceback of a fault, NO_COLOR=1 leaves colours out.
    """


for command in (
    prepare,
    train,
    translate,
    correspond,
    edit,
    makeup,
    evaluate,
    rank,
    recipes,
    demo,
):
    app.command(cls=Command)(command)
app.add_typer(weights.app, name="weights")


class _Interrupt:
    """What a signal does: the first stops the command, which ends what it is writing; a second one,
    or one that comes while the process is ending, ends it where it stands. Files are whole either
    way, and locks die with the process."""

    def __init__(self) -> None:
        self.code: int | None = None
        """What the process is going to end with, once that is known."""

    def __call__(self, _: int, frame: FrameType | None) -> NoReturn:
        if self.code is None:
            self.code = INTERRUPTED
            if not _loading(frame):
                raise KeyboardInterrupt
        if self.code == INTERRUPTED:
            _say_interrupted()
        os._exit(self.code)


def _loading(frame: FrameType | None) -> bool:
    """Whether modules are being loaded, whose C++ would abort on an exception."""
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _on_signals(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _say_interrupted() -> None:
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes the first
        console.note("interrupted: the same command goes on from here")


def main() -> NoReturn:
    """Run a command; every error ends as one message and an exit code.

    0 all done, 1 could not start or failed, 2 usage, 3 finished with failed items,
    130 interrupted.
    """
    interrupt = _Interrupt()
    _on_signals(interrupt)
    atexit.register(_on_signals, signal.SIG_IGN)  # Python drops its handlers before it has ended
    try:
        code = app(standalone_mode=False)
    except CocosError as error:
        console.error(error.message, error.hint)
        code = error.exit_code
    except _ParserError as error:  # type: ignore[misc]
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "cocos"
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
        else:
            console.error(error.format_message(), f"See {where} --help.")
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        if os.environ.get("COCOS_DEBUG"):
            raise
        console.error(
            f"a fault in cocos itself: {type(error).__name__}: {one_line(error)}",
            "Please report it, with what COCOS_DEBUG=1 prints.",
        )
        code = 1
    interrupt.code = code if isinstance(code, int) else 0
    if interrupt.code == INTERRUPTED:  # Typer returns it too
        _say_interrupted()
    sys.exit(interrupt.code)


if __name__ == "__main__":
    main()
