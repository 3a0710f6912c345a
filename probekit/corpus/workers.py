"""Several workers that fill one store, by Ray Data.

Each worker is a process that loads the model once, takes the number of a window, reads its texts
from `items.parquet` and writes the shard of that number. What passes between processes is numbers;
so the store is the same whatever the number of workers, and whichever of them dies.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probekit.activations import Advance, Job, Window, holds
from probekit.corpus.cluster import cluster
from probekit.corpus.items import Items
from probekit.errors import UserError
from probekit.models import PaddingSide, load_model
from probekit.prompts import Template
from probekit.store import ActivationStore, sole_writer

RETRIES = 3
"""How often a window is tried again whose worker died."""


def capture_by_workers(
    job: Job, items: Items, folder: Path, shard_items: int, workers: int, advance: Advance
) -> ActivationStore:
    """Fill a store with the activations of a corpus's items.

    Each worker loads the model again, by the name that `load_model` was given, on a device of the
    kind that the caller's lies on; the caller keeps its own. In a cluster of several machines the
    model, the store and the cache must lie on a disk that all share.

    Args:
        job: what is read.
        items: of the corpus, in the folder of the store.
        folder: of the store.
        shard_items: texts of a shard.
        workers: how many.
        advance: called with the number of texts finished.

    Raises:
        UserError: as `capture`; fewer devices than workers; a worker that dies again and again.
    """
    with sole_writer(folder):
        store, missing = job.open(folder, shard_items), []
        for number in range(items.windows):
            window = window_of(items, number)
            if holds(store, number, window):
                advance(len(window.ids))
            else:
                missing.append(number)
        if missing:
            _fill(_Order.of(job, folder.absolute()), missing, workers, advance)
        store.sweep_leftovers()
        if store.numbers != list(range(items.windows)):
            raise UserError(f"{folder} holds other shards than its items; give another folder")
        return store


def window_of(items: Items, number: int) -> Window:
    """One window of a corpus, for a `Job`."""
    found = items.window(number)
    return Window([item.id for item in found], [item.text for item in found], [None] * len(found))


@dataclass(frozen=True)
class _Order:
    """What a worker is told: a `Job` in words, and where its store lies."""

    model: str
    device: str
    dtype: str
    fingerprint: str
    sites: tuple[str, ...]
    poolings: tuple[str, ...]
    template: Template
    truncate: bool
    batch_tokens: int
    side: PaddingSide
    folder: Path

    @staticmethod
    def of(job: Job, folder: Path) -> "_Order":
        model = job.model
        here = Path(model.name).expanduser()
        return _Order(
            model=str(here.absolute()) if here.exists() else model.name,
            device=model.device.type,  # Which of them a worker sees is chosen by Ray.
            dtype=str(model.dtype).removeprefix("torch."),
            fingerprint=model.fingerprint,
            sites=tuple(map(str, job.sites)),
            poolings=tuple(job.poolings),
            template=job.template,
            truncate=job.truncate,
            batch_tokens=job.batch_tokens,
            side=job.side,
            folder=folder,
        )

    def job(self) -> Job:
        model = load_model(self.model, device=self.device, dtype=self.dtype)
        if model.fingerprint != self.fingerprint:
            raise UserError(
                f"a worker that loads {self.model} gets other weights: give a model folder or name "
                "that means the same to every worker"
            )
        return Job(
            model,
            self.sites,
            self.poolings,
            template=self.template,
            truncate=self.truncate,
            batch_tokens=self.batch_tokens,
            side=self.side,
        )


class _Worker:
    """Fills windows; lives in a process of its own, and is called there by Ray Data."""

    def __init__(self, order: _Order, threads: int) -> None:
        self.order = order
        torch.set_num_threads(threads)

    @cached_property
    def job(self) -> Job:
        return self.order.job()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Fill the windows of a batch; an error for the user is handed back, not raised.

        Raised, it would reach the user inside a traceback of Ray.
        """
        filled = [self._fill(int(number)) for number in batch["item"]]
        errors = np.empty(len(filled), object)
        errors[:] = [error for _, error in filled]
        return {"items": [count for count, _ in filled], "error": errors}

    def _fill(self, number: int) -> tuple[int, Exception | None]:
        try:
            window = window_of(Items(self.order.folder), number)
            self.job.fill(ActivationStore(self.order.folder), number, window, lambda _: None)
        except (UserError, OSError) as error:
            return 0, error
        return len(window.ids), None


def _fill(order: _Order, numbers: list[int], workers: int, advance: Advance) -> None:
    """Have workers fill windows; called with the items of each as it is done."""
    import ray.data
    import ray.exceptions
    from ray.util.annotations import RayDeprecationWarning

    with cluster(workers, order.device) as threads:
        # One block a window: no task of reading competes with the workers for a core.
        windows = ray.data.from_items(numbers, override_num_blocks=len(numbers))
        with warnings.catch_warnings(category=RayDeprecationWarning, action="ignore"):
            # The one way to bound the retries of a task; it goes away in Ray 2.64.
            results = windows.map_batches(
                _Worker,
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))),
                num_cpus=1,
                num_gpus=0 if order.device == "cpu" else 1,
                fn_constructor_args=(order, threads),
                ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
            )
        try:
            for row in results.iter_rows():
                if row["error"] is not None:
                    raise row["error"]
                advance(row["items"])
        except ray.exceptions.RayActorError as error:
            raise UserError(
                f"a worker died {RETRIES + 1} times on the same texts, perhaps out of memory: give "
                "fewer --workers, or a smaller dtype or model"
            ) from error
