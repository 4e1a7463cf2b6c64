"""The command line: each command parses its words, calls a function of the library and prints the result.

The module of a command is imported when the command runs, so that `diabolo --help` answers at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import sys
import traceback
from collections.abc import Sequence

from diabolo._imported import is_trusted, trust
from diabolo.cli._parser import Parser
from diabolo.cli._streams import sturdy_streams
from diabolo.errors import ConfigError, DiaboloError, check_current_folder, memory_shortage, unknown_name

__all__ = ["main"]

# The name of a command -> its module and what it does, in the order in which a newcomer meets them.
COMMANDS = {
    "demo": ("demo", "train a small model on real digits, draw its pictures, write its report"),
    "train": ("train", "train a model on a data set, a folder of images, an array or a table"),
    "resume": ("train", "go on with a run that was stopped, or train a finished one for longer"),
    "info": ("look", "say what a run is and what it reached"),
    "plot": ("look", "draw a run's figures again, perhaps with other data"),
    "report": ("look", "write a run's report, one HTML page"),
    "encode": ("use", "turn examples into codes: .npz, .csv, .parquet, or a folder of pieces"),
    "decode": ("use", "turn codes into examples: a picture, .npz or .npy"),
    "reconstruct": ("use", "send examples through the latent code and back"),
    "denoise": ("denoise", "clean noisy examples"),
    "sample": ("use", "make new examples from a prior"),
    "fit-prior": ("prior", "fit a density to the codes, for sample to draw from"),
    "interpolate": ("paths", "walk from one example to another through the latent code"),
    "traverse": ("paths", "change one number of an example's code"),
    "neighbours": ("paths", "find the examples whose codes are nearest"),
    "concept": ("concept", "learn a direction in the latent code from two groups of examples"),
    "edit": ("concept", "move examples along concepts"),
    "score": ("score", "say how badly the model explains each example; find anomalies"),
    "evaluate": ("evaluate", "measure a run on any data: one table with error bars"),
    "compare": ("evaluate", "measure several runs on the same data: a leaderboard and a page"),
    "export": ("export", "write the encoder and the decoder as ONNX files"),
    "import-pythae": ("pythae", "open a model that pythae saved, with its default networks, as a run"),
    "explore": ("explore", "look at a run in the browser: its code, its examples, its concepts"),
    "serve": ("explore", "answer requests of programs: encode, decode, score, edit, ... over HTTP"),
    "models": ("lists", "list the variants, with their equations, sources and options"),
    "recipes": ("lists", "list the tutorials' systems that are ready to run"),
    "datasets": ("lists", "list the data sets that are known by name, and look into any source"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: the words of the command; those of the process when left out.

    Returns:
        The exit status: 0, 1 after an error, 2 after an argument that cannot be, 130 after an interruption, 141 where
        nobody reads the output any more, as behind `diabolo models | head`.

    >>> main(["--version"])
    diabolo ...
    0
    """
    with sturdy_streams():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(words: list[str]) -> int:
    try:
        status = _run(words)
        sys.stdout.flush()  # a reader that is gone is noticed here, and not behind the last line
        return status
    except ConfigError as error:
        return _complain(error, 2)
    except DiaboloError as error:
        return _complain(error, 1)
    except KeyboardInterrupt as stop:
        print(f"\nInterrupted. {stop}".rstrip(), file=sys.stderr)
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 141
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", 1)
    except Exception as error:
        if (shortage := memory_shortage(error)) is not None:
            return _complain(shortage, 1)
        if os.environ.get("DIABOLO_DEBUG"):
            raise
        return _complain(_defect(error), 1)


def _nobody_reads() -> bool:
    """Whether the reader of the standard output is gone; what is left to write then goes nowhere.

    SIGPIPE stays ignored: at its default it would end a server whenever a browser leaves in the middle of an answer.
    """
    with contextlib.suppress(AttributeError, OSError):  # Windows has no poll; a stand-in for stdout has no number
        descriptor, poll = sys.stdout.fileno(), select.poll()
        poll.register(descriptor, 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
            return True
    return False


TRAINING = ("demo", "resume", "train")


def _run(words: list[str]) -> int:
    words = _without_trust(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from diabolo._version import __version__

        print(f"diabolo {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    check_current_folder()  # torch itself cannot be loaded from there
    if name not in TRAINING and "-h" not in rest and "--help" not in rest:
        # Threads that spin while they wait slow a busy machine down; training chooses their number instead.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    module = importlib.import_module(f"diabolo.cli.{COMMANDS[name][0]}")
    parser = Parser(prog=f"diabolo {name}", description=COMMANDS[name][1].capitalize() + ".")
    code: int = getattr(module, name.replace("-", "_"))(parser, rest)
    return code


def _without_trust(words: list[str]) -> list[str]:
    """The words without `--trust MODULE,...`, which any command takes: parts may be imported from these modules."""
    others: list[str] = []
    waiting = False
    for word in words:
        if waiting or word.startswith("--trust="):
            name = word.removeprefix("--trust=")
            if not name or name.startswith("-"):
                raise ConfigError(f"--trust should be followed by the name of a module, and was given {name!r}.")
            trust(name)
            waiting = False
        elif word == "--trust":
            waiting = True
        else:
            others.append(word)
    if waiting:
        raise ConfigError("--trust should be followed by the name of a module.")
    return others


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: diabolo COMMAND ...",
            "",
            "Autoencoders for any data: train, look into the latent code, put it to work.",
            "",
            *lines,
            "",
            "diabolo COMMAND --help says more. To begin: diabolo demo",
            "A run with parts of your own module: diabolo COMMAND RUN --trust my_module",
        ]
    )


def _defect(error: Exception) -> str:
    """The message for an error that is a defect."""
    module = _outside_module(error)
    if module is not None:
        return f"an error of the module {module}: {type(error).__name__}: {error}. DIABOLO_DEBUG=1 shows where."
    return f"a defect of diabolo's own: {type(error).__name__}: {error}. DIABOLO_DEBUG=1 shows where."


def _outside_module(error: Exception) -> str | None:
    """The module of a part from outside in which an error happened, or that called what failed; None for diabolo's."""
    from diabolo._installed import modules_of_packages

    of_packages = modules_of_packages()
    names = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((name for name in reversed(names) if name in of_packages or is_trusted(name)), None)


def _complain(error: object, code: int) -> int:
    print(f"diabolo: {error}", file=sys.stderr)
    return code
