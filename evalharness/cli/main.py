"""The entry point, and the one place where exceptions become exit codes.

Nothing but the standard library is imported before the `try`: a failure to import must not end in a bare traceback,
whose exit code 1 would read as a regression.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence

# click turns KeyboardInterrupt into its own Abort, so this is said in two places
_INTERRUPTED = "interrupted; what was collected is kept: the same command resumes"
_INTERRUPTED_FRESH = "interrupted; what was collected is kept: the same command without --fresh resumes"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the design's code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_streams()
    # a cancelled CI job sends SIGTERM: end as Ctrl-C does, tidily and with a word
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _hear_lost_interrupts()
    code = run(arguments)
    _settle_streams()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command line; returns the exit code and never raises an Exception."""
    debug = "--debug" in arguments
    try:
        return _dispatch([a for a in arguments if a != "--debug"])
    except KeyboardInterrupt:
        _say(_INTERRUPTED_FRESH if "--fresh" in arguments else _INTERRUPTED)
        return 130
    except BaseException as error:  # noqa: BLE001 - the funnel: every exception gets its exit code here
        code = _exit_code(error)
        if debug:
            import traceback

            _say(_without_keys("".join(traceback.format_exception(error))))
        return code


def _hear_lost_interrupts() -> None:
    """Have an interrupt raised again that fell into a callback of the garbage collector.

    Python drops it there, with a traceback; libraries that are slow to import make that likely.
    """
    usual = sys.unraisablehook

    def hook(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            usual(lost)
            return
        import _thread
        import threading

        # from a thread and a moment later: raised in this hook it would be dropped again
        threading.Timer(0.05, _thread.interrupt_main, (signal.SIGTERM,)).start()

    sys.unraisablehook = hook


def _open_streams() -> None:
    """Give a process that was started with `>&-` or `2>&-` somewhere to write.

    Python has no stream then, and the next file that is opened would get the descriptor that libraries print to.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, os.O_RDWR)
            if handle != number:
                os.dup2(handle, number)
                os.close(handle)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, closefd=False, encoding="utf-8"))  # noqa: SIM115


def _settle_streams() -> None:
    """Flush what is left. Python would do so at its exit, and end with 120 where nobody can take it any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _dispatch(arguments: list[str]) -> int:
    import gc

    from evalharness.cli.app import app

    # Runs are many small long-lived objects: at Python's default the collector walks them over and over and takes a
    # quarter of the time of a large comparison.
    gc.set_threshold(100_000, 20, 20)
    result = app.main(args=arguments, prog_name="evalharness", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        # Nothing of ours raises it: it came from a plugin or the user's own code, and its code is no verdict.
        _say(f"internal error: something called sys.exit({error.code!r}); run again with --debug to see what")
        return 70
    try:
        import click

        from evalharness.errors import EvalHarnessError
    except Exception as missing:  # noqa: BLE001 - a broken installation is an internal error, not a regression
        _say(f"internal error: {type(missing).__name__}: {missing}; reinstall evalharness")
        return 70
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        _say(_INTERRUPTED)
        return 130
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        if context is not None:
            _say(context.get_usage())
        _say(f"error: {error.format_message()}")
        return 2
    if isinstance(error, EvalHarnessError):
        _say_problems(error)
        return error.exit_code
    _say(
        f"internal error: {type(error).__name__}: {_without_keys(str(error))}; this is a defect of evalharness: run "
        "again with --debug and report the traceback"
    )
    return 70


def _say_problems(error: Exception) -> None:
    problems = getattr(error, "problems", None)
    if not problems:
        _say(f"error: {_without_keys(str(error))}")
        return
    for problem in problems:
        _say(f"error: {_without_keys(str(problem))}")
    if len(problems) > 1:
        _say(f"{len(problems)} problems")


def _without_keys(text: str) -> str:
    """What a server, a library or a file said, without the keys that it repeats."""
    try:
        from evalharness.api import without_keys

        return without_keys(text)
    except Exception:  # noqa: BLE001 - whatever is broken, the error itself is what must be told
        return text


def _say(text: str) -> None:
    """To stderr, without anything that could drive the terminal. A closed stderr is nobody's error."""
    clean = "".join(c for c in text if c in "\n\t" or (ord(c) >= 32 and not 0x7F <= ord(c) <= 0x9F))
    try:
        print(clean.encode("utf-8", "replace").decode("utf-8"), file=sys.stderr)  # noqa: T201
    except (OSError, UnicodeError, ValueError):
        return


if __name__ == "__main__":
    main()
