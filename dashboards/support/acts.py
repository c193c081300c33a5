"""One act of an instrument as a command: options, progress, Ctrl-C, messages and exit codes."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import math
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from cyclopts import Parameter
from tqdm import tqdm

from analysis.scheduler import open_scheduler
from analysis.tasks import Cancelled, SchedulerLost
from dashboards.support.options import HOW, first_line, help_of, option_names, options_of, shown_default

DONE, SOME_FAILED, WRONG_USE, NOBODY_WORKS, STOPPED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Outcome:
    """What an act hands back to the command line.

    Attributes
    ----------
    summary
        Plain numbers and words, printed as JSON with ``--json``.
    files
        What was written.
    problems
        Inputs that failed: ``slide_id, root_dir, file, expected, found, reason``, or any columns with text.
    table
        Shown on the terminal.
    warnings
        Sentences printed on standard error; they change no exit code.
    sentence
        One line for people in place of the summary; JSON has both.
    """

    summary: dict[str, Any]
    files: Sequence[Path] = ()
    problems: pd.DataFrame = field(default_factory=pd.DataFrame)
    table: pd.DataFrame | None = None
    warnings: Sequence[str] = ()
    sentence: str = ""


class Bar:
    """Progress on stderr: one bar for each kind of work, none where nobody looks."""

    def __init__(self, shown: bool | None):
        # None asks tqdm to look whether stderr is a terminal
        self._disable = None if shown is None else not shown
        self._bar: tqdm | None = None
        self._work: tuple[str, int] | None = None

    def __call__(self, done: int, total: int, words: str) -> None:
        """Show that ``done`` of ``total`` inputs are finished."""
        if self._work != (words, total):
            self.close()
            self._work = words, total
            self._bar = tqdm(total=total, desc=words, file=sys.stderr, disable=self._disable, leave=True)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            if done >= total:
                # what comes next may say nothing for a while; this work's time must not run on
                self._bar.close()
                self._bar = None

    def close(self) -> None:
        """End the bar's line."""
        if self._bar is not None:
            self._bar.close()
        self._bar = self._work = None


@dataclass
class Run:
    """What an act gets from the command line besides its options."""

    progress: Bar
    cancel: threading.Event
    executor: Executor | None = None

    @property
    def keywords(self) -> dict[str, Any]:
        """``progress`` and ``cancel`` for a public function."""
        return {"progress": self.progress, "cancel": self.cancel}

    @property
    def work(self) -> dict[str, Any]:
        """The same, and ``executor``, for one that many machines may work at."""
        return {**self.keywords, "executor": self.executor}

    def check(self) -> None:
        """Stop here when the person asked for it."""
        if self.cancel.is_set():
            raise Cancelled("Stopped; finished work is kept.")


def _common_options(*, many: bool) -> list[inspect.Parameter]:
    """Options that every command has, and the one of those with many inputs."""
    kind = inspect.Parameter.KEYWORD_ONLY
    words = {
        "json": "Print the summary as JSON on standard output.",
        "settings": "TOML file with options of this command; what is typed wins.",
        "progress": "Show progress on standard error; by default only on a terminal.",
    }
    hints = {"json": bool, "settings": Path | None, "progress": bool | None}
    defaults = {"json": False, "settings": None, "progress": None}
    negative = {"json": (), "settings": (), "progress": "--no-progress", "scheduler": ()}
    if many:
        words["scheduler"] = (
            "Address of a Dask scheduler, such as tcp://host:8786, whose workers do the work in place of this machine. "
            "They must see the same files under the same paths."
        )
        hints["scheduler"], defaults["scheduler"] = str | None, None
    return [
        inspect.Parameter(
            name,
            kind,
            default=defaults[name],
            annotation=Annotated[
                hints[name], Parameter(help=words[name], group=HOW, negative=negative[name], show_default=False)
            ],
        )
        for name in words
    ]


def act(
    *functions: Callable[..., Any],
    leave_out: Collection[str] = (),
    spellings: Mapping[str, Sequence[str]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    many: bool | None = None,
) -> Callable[[Callable[..., Outcome]], Callable[..., int]]:
    """Make a command of a function ``(run, ..., **options) -> Outcome``.

    ``**options`` becomes the keyword arguments of public functions, with their defaults and help; what the
    command adds itself is described in its own docstring. The command returns an exit code.

    Parameters
    ----------
    *functions
        Public functions; where two share an argument the first one describes it.
    leave_out, spellings, defaults
        See `options_of`.
    many
        Whether other machines may do the work, by ``run.work``; when None, if one of the functions takes an executor.
    """
    if many is None:
        many = any("executor" in inspect.signature(function).parameters for function in functions)

    def decorate(command: Callable[..., Outcome]) -> Callable[..., int]:
        signature = _signature(command, functions, leave_out, spellings, defaults, many)

        @functools.wraps(command)
        def run_command(*args: Any, **kwargs: Any) -> int:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            where = bound.arguments.pop("scheduler", None) if many else None
            return perform(command, work_at=where, **bound.arguments)

        run_command.__doc__ = first_line(command)
        run_command.__signature__ = signature
        run_command.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        del run_command.__wrapped__
        return run_command

    return decorate


def _signature(command, functions, leave_out, spellings, defaults, many) -> inspect.Signature:
    """Own arguments of a command (but the run), then those of the functions, then those all commands have."""
    helps = help_of(command)
    own = [
        argument.replace(annotation=_described(argument, hint, helps.get(name, ""), spellings or {}))
        for name, argument, hint in _own_arguments(command)
    ]
    taken = {argument.name for argument in own}
    for function in functions:
        options = options_of(function, leave_out={*leave_out, *taken}, spellings=spellings, defaults=defaults)
        own += options
        taken |= {option.name for option in options}
    own += [option for option in _common_options(many=many) if option.name not in taken]
    return inspect.Signature(sorted(own, key=lambda argument: argument.kind))


def _own_arguments(command: Callable[..., Any]) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    hints = inspect.get_annotations(command, eval_str=True)
    for name, argument in list(inspect.signature(command).parameters.items())[1:]:
        if argument.kind is not argument.VAR_KEYWORD:
            yield name, argument, hints[name]


def _described(argument: inspect.Parameter, hint: Any, text: str, spellings: Mapping[str, Sequence[str]]) -> Any:
    more = {"name": option_names(argument.name, spellings)} if argument.kind is argument.KEYWORD_ONLY else {}
    shown = shown_default(None if argument.default is argument.empty else argument.default)
    negative = {} if argument.default is True else {"negative": ()}
    return Annotated[hint, Parameter(help=text, show_default=shown, **negative, **more)]


def perform(
    command: Callable[..., Outcome],
    *,
    json: bool = False,
    settings: Path | None = None,
    progress: bool | None = None,
    work_at: str | None = None,
    **arguments: Any,
) -> int:
    """Run an act and say how it went.

    Parameters
    ----------
    command
        Called with a `Run` and the arguments.
    json, settings, progress
        The options every command has; the settings file was read while the line was parsed.
    work_at
        Address of a scheduler whose workers do the work; paths then are made to start at the root.
    **arguments
        Of the command.

    Returns
    -------
    int
        0 done, 1 some inputs failed, 2 wrong settings, 3 the scheduler or its workers were lost, 130 stopped. A bug
        keeps its traceback.
    """
    run = Run(Bar(progress), threading.Event())
    try:
        with stopping(run.cancel), contextlib.ExitStack() as opened:
            if work_at:
                arguments = {name: _from_the_root(value) for name, value in arguments.items()}
                paths = [path for value in arguments.values() for path in _paths_in(value)]
                # a table is written here, a folder by the workers too
                paths = [path for path in paths if path.exists() or not path.suffix]
                run.executor = opened.enter_context(open_scheduler(work_at, paths=paths))
            outcome = command(run, **arguments)
    except (ValueError, OSError, ImportError) as error:
        run.progress.close()
        if isinstance(error, ImportError) and not work_at:
            raise
        return _say(sentence(error), WRONG_USE)
    except SchedulerLost as error:
        run.progress.close()
        return _say(str(error), NOBODY_WORKS)
    except (Cancelled, KeyboardInterrupt) as error:
        run.progress.close()
        return _say(str(error) or "Stopped; finished work is kept.", STOPPED)
    run.progress.close()
    return report(outcome, as_json=json)


def _from_the_root(value: Any) -> Any:
    """Return a path, or paths in a list, as they are from the root: workers are in folders of their own."""
    if isinstance(value, Path):
        return Path(os.path.abspath(value))
    return type(value)(map(_from_the_root, value)) if isinstance(value, list | tuple) else value


def _paths_in(value: Any) -> list[Path]:
    return [each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, Path)]


@contextlib.contextmanager
def stopping(cancel: threading.Event) -> Iterator[None]:
    """Turn the first Ctrl-C, or a scheduler's request to end, into a polite one; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()
        print("\nStopping; what is finished is kept. Press again to stop at once.", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sentence(error: Exception) -> str:
    """Return what an exception says, with the file where it knows one, on one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return " ".join(str(error).split()) or type(error).__name__


def _say(words: str, code: int) -> int:
    print(words, file=sys.stderr)
    return code


def report(outcome: Outcome, *, as_json: bool) -> int:
    """Print an outcome: the summary on stdout, warnings and problems on stderr."""
    try:
        if as_json:
            told = {**outcome.summary, **({"sentence": outcome.sentence} if outcome.sentence else {})}
            print(json.dumps(_plain(told), ensure_ascii=False, allow_nan=False), flush=True)
        else:
            print_outcome(outcome)
    except BrokenPipeError:
        # whoever reads has seen enough; Python must not try once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    for words in outcome.warnings:
        print(f"Warning: {' '.join(words.split())}", file=sys.stderr)
    for line in problem_lines(outcome.problems):
        print(line, file=sys.stderr)
    return SOME_FAILED if len(outcome.problems) else DONE


def print_outcome(outcome: Outcome) -> None:
    """Print summary, table and files of an outcome for people."""
    for line in [outcome.sentence] if outcome.sentence else summary_lines(outcome.summary):
        print(line)
    if outcome.table is not None and len(outcome.table):
        print(f"\n{aligned(outcome.table)}\n")
    for path in outcome.files:
        print(f"wrote {path}")
    sys.stdout.flush()


def aligned(table: pd.DataFrame) -> str:
    """Return a table as text, words to the left and numbers to the right."""
    columns = []
    for name, values in table.items():
        numbers = pd.api.types.is_numeric_dtype(values)
        cells = [str(name).replace("_", " "), *map(_short, values)]
        width = max(map(len, cells))
        columns.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in cells])
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def summary_lines(summary: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Yield one line for each entry of a summary; files are told apart from it."""
    for name, value in summary.items():
        words = f"{before}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            if name != "files":
                yield from summary_lines(value, f"{words} ")
        else:
            text = ", ".join(map(_short, value)) if isinstance(value, (list, tuple)) else _short(value)
            yield f"{words}: {text if text and value is not None else 'none'}"


def problem_lines(problems: pd.DataFrame) -> Iterator[str]:
    """Yield one line for each input that failed: file, expected, found, reason."""
    for row in problems.astype(str).to_dict("records"):
        words = [row.get("file") or row.get("root_dir") or row.get("path", "")]
        if row.get("reason"):
            words.append(f"{row['reason']}; expected {row.get('expected', '')}, found {row.get('found', '')}")
        else:
            words.append(row.get("error", ""))
        yield " ".join(": ".join(words).split())


def _plain(value: Any) -> Any:
    """Return a value that JSON can hold; numbers that are none become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def typed_line() -> str:
    """Return the command line as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
