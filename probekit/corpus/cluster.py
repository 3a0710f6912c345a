"""Ray for the time of a capture: a cluster that runs already, or one on this machine."""

import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from probekit.errors import UserError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # No network that the user did not ask for.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # Under `uv run` Ray would pack up the working folder.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
}
OBJECTS = 100 << 20
"""Bytes of Ray's store of objects: only numbers lie in it."""


def check_workers(workers: int) -> None:
    """Raise a `UserError` for a number of workers that cannot be, or where Ray is not installed."""
    if workers < 1:
        raise UserError(f"{workers} workers: give 1 or more")
    if workers == 1:
        return
    for name, value in ENVIRONMENT.items():  # Read as Ray is imported.
        os.environ.setdefault(name, value)
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{workers} workers need Ray, which is not installed ({error}): "
            "pip install 'emotion-probekit[ray]', or leave out --workers"
        ) from error


@contextmanager
def cluster(workers: int, device: str) -> Iterator[int]:
    """Ray, and how many threads each worker may use.

    A cluster that runs is used (RAY_ADDRESS, or `ray.init` before); else Ray is started on this
    machine, and ended afterwards.

    Raises:
        UserError: no cluster at RAY_ADDRESS, fewer devices than workers, or Ray does not start.
    """
    import ray
    import ray.data

    ours = not ray.is_initialized()
    if ours:
        _start(workers)
    context = ray.data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    try:
        with ray.data.DataContext.current(context):
            yield _threads(ray.cluster_resources(), workers, device)
    finally:
        if ours:
            ray.shutdown()


def _start(workers: int) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start one here, twice where the machine is busy."""
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address := os.environ.get("RAY_ADDRESS"):
        _refuse_silence(address)
        ray.init(**quiet)
        return
    cores = max(workers, os.cpu_count() or 1)
    for last in (False, True):
        try:
            with _silent():
                ray.init(
                    num_cpus=cores, include_dashboard=False, object_store_memory=OBJECTS, **quiet
                )
            return
        except Exception as error:  # Ray raises no narrower kind for what did not start in 30 s.
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if last:
                raise UserError(
                    f"Ray did not start twice ({error}): try again when this machine is less busy, "
                    "or leave out --workers"
                ) from error


def _refuse_silence(address: str) -> None:
    """Raise a `UserError` where nothing listens at host:port; Ray would wait for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), 10).close()
    except OSError as error:
        raise UserError(
            f"no Ray cluster answers at RAY_ADDRESS {address} ({error.strerror or error}): start "
            "it, or unset RAY_ADDRESS"
        ) from error


def _threads(resources: Mapping[str, float], workers: int, device: str) -> int:
    """Threads of a worker: they share what this machine would use for one.

    Raises:
        UserError: more workers than devices; they would wait for ever.
    """
    name = "CPU" if device == "cpu" else "GPU"
    there = int(resources.get(name, 0))
    if workers > there:
        raise UserError(f"{workers} workers and {there} {name}s: give at most {there} workers")
    return max(1, torch.get_num_threads() // workers)


@contextmanager
def _silent() -> Iterator[None]:
    """Without what is printed past Python: Ray tells the level of its log, whatever that is."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
