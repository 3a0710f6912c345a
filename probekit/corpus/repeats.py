"""Whether a text came before, exactly or nearly, in memory that does not grow with the corpus.

*Exactly*: the same words, whatever their case, spacing and punctuation. *Nearly*: 64 minima of
hashes of its runs of three words (Broder 1997, doi:10.1109/SEQUEN.1997.666900) in eight bands of
eight; a text of which one band came before is taken for a repeat. Of texts that share a portion s
of their runs with another these are 1 - (1 - s^8)^8: .99 at s = .9, .77 at .8, .03 at .5. Both are
remembered in a Bloom filter (Bloom 1970, doi:10.1145/362686.362692) of fixed size: it forgets
nothing, and filled with five million hashes it takes one new one in 50,000 for known.
"""

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

BITS = 1 << 27
"""Of the filter: 16 MiB."""
PROBES, BANDS, ROWS, RUN = 8, 8, 8, 3


class Remembered:
    """A Bloom filter."""

    def __init__(self, bits: int = BITS) -> None:
        self._bits = np.zeros(bits // 8, np.uint8)

    def add(self, value: bytes) -> bool:
        """Remember a value; whether it had (very probably) been added before."""
        digest = hashlib.blake2b(value, digest_size=8 * PROBES).digest()
        places = np.frombuffer(digest, np.uint64) % np.uint64(8 * len(self._bits))
        byte, bit = places // 8, np.uint8(1) << (places % 8).astype(np.uint8)
        known = bool((self._bits[byte] & bit).all())
        np.bitwise_or.at(self._bits, byte, bit)
        return known


def key_of(text: str) -> str:
    """The same for texts that repeat each other exactly, case and punctuation aside."""
    return hashlib.blake2b(" ".join(_words(text)).encode(), digest_size=8).hexdigest()


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


class Repeats:
    """Remembers texts, and tells those that came before.

    Args:
        near: whether near repeats are told too.
    """

    def __init__(self, *, near: bool = True) -> None:
        self.near, self._exact, self._bands = near, Remembered(), Remembered()
        rng = np.random.default_rng(0)
        most = np.iinfo(np.uint64).max
        self._turns = rng.integers(0, most, (BANDS * ROWS, 1), dtype=np.uint64, endpoint=True) | 1
        self._shifts = rng.integers(0, most, (BANDS * ROWS, 1), dtype=np.uint64, endpoint=True)

    def kind(self, text: str) -> str:
        """Remember a text: "exact" or "near" where it repeats another, else ""."""
        words = _words(text)
        if self._exact.add(" ".join(words).encode()):
            return "exact"
        if not self.near or len(words) < RUN:
            return ""
        bands = self._minima(words).reshape(BANDS, ROWS)
        known = [self._bands.add(bytes([n]) + band.tobytes()) for n, band in enumerate(bands)]
        return "near" if any(known) else ""

    def _minima(self, words: list[str]) -> NDArray[np.uint64]:
        """`[hash]`, the least of each hash over all runs of words."""
        runs = {" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}
        hashed = [hashlib.blake2b(run.encode(), digest_size=4).digest() for run in runs]
        own = np.frombuffer(b"".join(hashed), np.uint32).astype(np.uint64)
        # Multiply, add, shift: the upper half of what overflows (Dietzfelbinger 1996).
        return ((self._turns * own + self._shifts) >> np.uint64(32)).min(1)
