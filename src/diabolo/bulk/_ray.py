"""The engine of Ray Data: `pip install 'diabolo[ray]'`. The one file that imports Ray.

What goes through Ray are the pieces' row ranges and what became of them: each worker holds the model, reads its pieces
itself and writes them itself, so that no example is copied between processes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diabolo import errors
from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk._pieces import Piece
from diabolo.bulk._work import Order, Work, fingerprint
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError, RunError

__all__ = ["Ray"]

_STORE_BYTES = 200_000_000  # of the object store: only row ranges go through it
_ATTEMPTS = 4  # at a piece whose worker was killed: Ray would try for ever
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers see the GPU that this process would use
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Ray:
    """Ray Data: workers that hold the model, on this machine or on a cluster that shares its files with this one.

    A Ray that runs in this process already is used as it is; otherwise one is started on 127.0.0.1 (without dashboard
    or telemetry) and stopped at the end. A worker that dies is replaced, and its piece made again.

    Args:
        workers: how many; as many as this machine, or the cluster, has cores when left out.
        address: of a running cluster, `auto` or host:port; the variable RAY_ADDRESS is not looked at without `auto`.
    """

    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", "a number of at least 1", self.workers)

    def check(self, model: Autoencoder, source: Any) -> None:
        """Refuses what cannot be sent to workers.

        Raises:
            MissingExtraError: Ray is not installed.
            ConfigError: the model has no folder, or the source is an array in memory.
        """
        _ray()
        if model.folder is None:
            raise ConfigError(
                "Ray's workers load the model from its folder, and it has none: model.save(FOLDER) first."
            )
        if source is not None and not isinstance(source, (str, os.PathLike)):
            raise ConfigError(
                f"Ray's workers read the source themselves: name a path or a known set. A {type(source).__name__} in "
                "memory is for the engine Process()."
            )

    def make(self, work: Work, pieces: Sequence[Piece], advance: Any) -> Iterator[DataError | None]:
        """Makes each piece by one of the workers, in any order.

        Raises:
            RunError: the run's folder vanished or changed, or Ray gave up.
            DiaboloError: as a worker raised it.
        """
        ray = _ray()
        here = self.workers or os.cpu_count() or 1
        with contextlib.redirect_stdout(sys.stderr), _quiet(ray), _started(ray, here, self.address):
            workers = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) - (self.address is None))
            made = _planned(ray, work.order, pieces, min(workers, len(pieces)))
            try:
                for batch in made.iter_batches(batch_size=None, prefetch_batches=0):
                    for report in batch["report"]:
                        yield _received(json.loads(str(report)), advance)
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"Ray stopped the work: {_last_line(error)} The pieces that are done are in {work.order.folder}; "
                    "start the same again to go on, perhaps with fewer workers."
                ) from error


class _Worker:
    """One worker: the model, loaded once, and a piece at a time.

    An error that was raised on purpose is sent back as a report: Ray would wrap it, or take it for a crash.
    """

    def __init__(self, order: Order) -> None:
        self.error: DiaboloError | None = None
        try:
            assert order.run is not None  # noqa: S101 (Ray.check saw to it)
            model = Autoencoder.load(order.run)
            if fingerprint(model) != order.weights or order.operation.config(model) != order.asked:
                raise RunError(
                    f"{order.run} does not hold the model that the job began with: it was trained further, replaced, "
                    "or what was learned afterwards (a threshold, say) was not saved. Save it, or start again."
                )
            self.work = Work(model, order)
        except DiaboloError as error:
            self.error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"report": [json.dumps(self._report(json.loads(str(text)))) for text in batch["piece"]]}

    def _report(self, config: dict[str, Any]) -> dict[str, Any]:
        piece = Piece(**config)
        try:
            if self.error is not None:
                raise self.error
            with self._attempt(piece):
                self.work.make(piece)
        except DiaboloError as error:
            return {"error": type(error).__name__, "message": str(error), "rows": piece.rows}
        return {"error": None, "rows": piece.rows}

    @contextlib.contextmanager
    def _attempt(self, piece: Piece) -> Iterator[None]:
        """Counts, in a file beside the piece, how often it was begun and neither made nor refused."""
        path = self.work.order.folder / f".{piece.name}.attempts"
        begun = path.stat().st_size if path.exists() else 0
        if begun >= _ATTEMPTS:
            raise RunError(
                f"The worker that makes {piece.name} was killed {begun} times: does it run out of memory? The pieces "
                "that are done stay; start the same again, with fewer workers or in one process."
            )
        with contextlib.suppress(OSError), path.open("ab") as stream:
            stream.write(b".")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _received(report: dict[str, Any], advance: Any) -> DataError | None:
    """What a worker says of a piece: None, an error of its rows, or an error that ends the job."""
    advance(report["rows"])
    if report["error"] is None:
        return None
    kind = getattr(errors, report["error"])
    made: DiaboloError = DiaboloError(report["message"]) if kind is MissingExtraError else kind(report["message"])
    if isinstance(made, DataError):
        return made
    raise made


def _planned(ray: Any, order: Order, pieces: Sequence[Piece], workers: int) -> Any:
    """Ray's data set of reports, not yet computed: one task for each piece."""
    ranges = [{"piece": json.dumps(piece.config())} for piece in pieces]
    tasks = ray.data.from_items(ranges, override_num_blocks=len(ranges))
    return tasks.map_batches(
        _Worker,
        fn_constructor_args=(order,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )


@contextlib.contextmanager
def _started(ray: Any, workers: int, address: str | None) -> Iterator[None]:
    """Ray running, for as long as the block does where it was not before."""
    if ray.is_initialized():
        yield
        return
    try:
        if address is None:
            _start_here(ray, workers)
        else:
            _reach(address)
            with _errors_aside():
                ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        ray.shutdown()
        if address is None:
            raise RunError(
                f"Ray could not be started on this machine: {_last_line(error)} The engine Process() does without it."
            ) from error
        raise ConfigError(
            f"No Ray cluster can be reached at {address!r}: {_last_line(error)} Start one with `ray start --head`, or "
            "leave the address out to work on this machine alone. A cluster that asks for a token is joined with "
            "RAY_AUTH_MODE=token in the environment."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raises OSError or ValueError where nothing answers at once: Ray itself would try for many minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError("it is neither 'auto' nor host:port")
    with socket.create_connection((host, int(port)), timeout=10):
        pass


def _start_here(ray: Any, workers: int) -> None:
    """Starts Ray on 127.0.0.1 alone: otherwise it would listen on the machine's address in the network.

    Ray does so on the systems whose firewalls would ask; on the others its own switch has to be moved.
    """
    constants = ray._private.ray_constants
    kept = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        with _errors_aside(), _environment({**_VARIABLES, **_LOOPBACK}):
            ray.init(
                address="local",
                num_cpus=workers + 1,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
            )
    finally:
        constants.ENABLE_RAY_CLUSTER = kept


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """No bars, no logs and no telemetry of Ray Data: the job has one bar of its own."""
    context, loggers = ray.data.DataContext.get_current(), [logging.getLogger(name) for name in ("ray", "ray.data")]
    kept = context.enable_progress_bars, [logger.level for logger in loggers]
    context.enable_progress_bars = False
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with _environment(_VARIABLES):
            yield
    finally:
        context.enable_progress_bars = kept[0]
        for logger, level in zip(loggers, kept[1], strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of the environment, where they are not set already, for the processes that Ray starts."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _errors_aside() -> Iterator[None]:
    """What Ray's C++ part writes to stderr as it starts goes nowhere."""
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as aside:
            os.dup2(aside.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _last_line(error: Exception) -> str:
    """What an error of Ray's says in the end, as a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _ray() -> Any:
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "The engine Ray (--engine ray)") from error
    return ray
