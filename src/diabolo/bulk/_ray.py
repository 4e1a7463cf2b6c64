"""The executor Ray: `pip install 'diabolo[ray]'`. Only this file imports Ray.

Only row ranges and reports go through Ray: each worker holds the model, reads its pieces and writes them, so that no
example is copied between processes.
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
from diabolo._words import whole_number
from diabolo.autoencoder.model import Autoencoder
from diabolo.bulk._piece_writer import JobSpec, PieceWriter
from diabolo.bulk._pieces import Piece
from diabolo.config import require
from diabolo.errors import ConfigError, DataError, DiaboloError, MissingExtraError, RunError
from diabolo.runs._run_contents import model_fingerprint

__all__ = ["Ray"]

_STORE_BYTES = 200_000_000  # of the object store: only row ranges go through it
_ATTEMPTS = 4  # at a piece whose worker was killed: Ray itself would never give up
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers, which reserve no GPU, see the one that this process would use
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@dataclass(frozen=True)
class Ray:
    """Workers of Ray Data, on this machine or on a cluster that shares its files with this machine.

    A Ray that runs in this process is used as it is; otherwise one starts on 127.0.0.1 (without dashboard or telemetry)
    and stops at the end. A worker that dies is replaced, and its piece written again.

    Args:
        workers: their number; one for each core of this machine, or of the cluster, when left out.
        address: of a running cluster, `auto` or host:port; only `auto` reads the variable RAY_ADDRESS.

    >>> Ray(workers=4)
    Ray(workers=4, address=None)
    """

    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        require(self.workers is None or self.workers >= 1, "workers", "a number of at least 1", self.workers)

    def check(self, model: Autoencoder, source: Any) -> None:
        """Refuses a model or a source that workers cannot open.

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
                "memory is for the executor Process()."
            )

    def make(self, writer: PieceWriter, pieces: Sequence[Piece], advance: Any) -> Iterator[DataError | None]:
        """Writes each piece by one of the workers, in any order.

        Raises:
            RunError: the run's folder vanished or changed, or Ray gave up.
            DiaboloError: the error of a worker.
        """
        ray = _ray()
        here = self.workers or os.cpu_count() or 1
        with contextlib.redirect_stdout(sys.stderr), _quiet(ray), _started(ray, here, self.address):
            workers = self.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) - (self.address is None))
            reports = _reports(ray, writer.spec, pieces, min(workers, len(pieces)))
            try:
                for batch in reports.iter_batches(batch_size=None, prefetch_batches=0):
                    for report in batch["report"]:
                        yield _outcome(json.loads(str(report)), advance)
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"Ray stopped the work: {_last_line(error)} The pieces that are done are in {writer.spec.folder}; "
                    "start the same again to go on, perhaps with fewer workers."
                ) from error


class _Worker:
    """One worker: it loads the model once and writes a piece at a time.

    An error of diabolo travels back as a report: Ray would wrap it, or take it for a crash and try again.
    """

    def __init__(self, spec: JobSpec) -> None:
        self.error: DiaboloError | None = None
        try:
            assert spec.run is not None  # noqa: S101 (Ray.check saw to it)
            model = Autoencoder.load(spec.run)
            is_same = model_fingerprint(model.model) == spec.weights
            if not is_same or spec.operation.config(model) != spec.operation_config:
                raise RunError(
                    f"{spec.run} does not hold the model that the job began with: it was trained further, replaced, "
                    "or what was learned afterwards (a threshold, say) was not saved. Save it, or start again."
                )
            self.writer = PieceWriter(model, spec)
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
                self.writer.write(piece)
        except DiaboloError as error:
            return {"error": type(error).__name__, "message": str(error), "rows": piece.rows}
        return {"error": None, "rows": piece.rows}

    @contextlib.contextmanager
    def _attempt(self, piece: Piece) -> Iterator[None]:
        """Counts, in a file beside the piece, the attempts that ended with a killed worker."""
        path = self.writer.spec.folder / f".{piece.name}.attempts"
        attempts = path.stat().st_size if path.exists() else 0
        if attempts >= _ATTEMPTS:
            raise RunError(
                f"The worker that makes {piece.name} was killed {attempts} times: does it run out of memory? The "
                "pieces that are done stay; start the same again, with fewer workers or in one process."
            )
        with contextlib.suppress(OSError), path.open("ab") as stream:
            stream.write(b".")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _outcome(report: dict[str, Any], advance: Any) -> DataError | None:
    """The outcome of a piece: None or the error of reading its rows; any other error is raised and ends the job."""
    advance(report["rows"])
    if report["error"] is None:
        return None
    kind = getattr(errors, report["error"])
    message = report["message"]
    error: DiaboloError = DiaboloError(message) if kind is MissingExtraError else kind(message)
    if isinstance(error, DataError):
        return error
    raise error


def _reports(ray: Any, spec: JobSpec, pieces: Sequence[Piece], workers: int) -> Any:
    """Ray's data set of reports, not yet computed, with one task for each piece."""
    ranges = [{"piece": json.dumps(piece.config())} for piece in pieces]
    tasks = ray.data.from_items(ranges, override_num_blocks=len(ranges))
    return tasks.map_batches(
        _Worker,
        fn_constructor_args=(spec,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )


@contextlib.contextmanager
def _started(ray: Any, workers: int, address: str | None) -> Iterator[None]:
    """Ray inside the block; one that this starts stops with the block."""
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
                f"Ray could not be started on this machine: {_last_line(error)} The executor Process() does without it."
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
    """Raises OSError or ValueError where nothing answers: Ray itself would try for many minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    number = whole_number(port)
    if not host or number is None or number > 65_535:
        raise ValueError("it is neither 'auto' nor host:port")
    with socket.create_connection((host, number), timeout=10):
        pass


def _start_here(ray: Any, workers: int) -> None:
    """Starts Ray on 127.0.0.1 alone.

    Ray does so by itself on Windows and macOS, whose firewalls would ask the user. On Linux it would listen on the
    machine's address in the network, unless its own constant says that it may not form a cluster.
    """
    constants = ray._private.ray_constants
    before = constants.ENABLE_RAY_CLUSTER
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
        constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Switches off bars, logs and telemetry of Ray Data: the job has a bar of its own."""
    context, loggers = ray.data.DataContext.get_current(), [logging.getLogger(name) for name in ("ray", "ray.data")]
    before = context.enable_progress_bars, [logger.level for logger in loggers]
    context.enable_progress_bars = False
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with _environment(_VARIABLES):
            yield
    finally:
        context.enable_progress_bars = before[0]
        for logger, level in zip(loggers, before[1], strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables of the environment that are unset, for the processes that Ray starts."""
    new = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _errors_aside() -> Iterator[None]:
    """Discards what the C++ part of Ray writes to file descriptor 2 when it starts; Python's sys.stderr misses that."""
    stderr = os.dup(2)
    try:
        with tempfile.TemporaryFile() as sink:
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _last_line(error: Exception) -> str:
    """The last line of an error of Ray, as a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _ray() -> Any:
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "The executor Ray (--executor ray)") from error
    return ray
