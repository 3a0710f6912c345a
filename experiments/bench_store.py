"""Which open format serves probes best: written window by window, read one layer of all items.

    python experiments/bench_store.py

Random float32 activations: 4,096 items in windows of 256, 31 layers, width 576. Every format holds
the same numbers; `raw append` (a bare file for each layer, no labels) is the limit.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import save_file

ITEMS, WINDOW, LAYERS, WIDTH, LAYER = 4096, 256, 31, 576, 7
BLOCK = np.random.default_rng(0).normal(size=(LAYERS, WINDOW, WIDTH)).astype(np.float32)
WINDOWS = range(ITEMS // WINDOW)


def safetensors_shards(base: Path) -> Callable[[], np.ndarray]:
    """One file a window, one tensor `[layer, item, d]` (what `ActivationStore` does)."""
    for i in WINDOWS:
        save_file({"x": BLOCK}, base / f"{i}.safetensors")

    def read() -> np.ndarray:
        parts = []
        for i in WINDOWS:
            with safe_open(base / f"{i}.safetensors", framework="numpy") as file:
                parts.append(file.get_slice("x")[LAYER])
        return np.concatenate(parts)

    return read


def npy_shards(base: Path) -> Callable[[], np.ndarray]:
    """One npy a window, read through a memory map."""
    for i in WINDOWS:
        np.save(base / f"{i}.npy", BLOCK)
    return lambda: np.concatenate(
        [np.load(base / f"{i}.npy", mmap_mode="r")[LAYER] for i in WINDOWS]
    )


def raw_append(base: Path) -> Callable[[], np.ndarray]:
    """A file for each layer, appended to."""
    files = [(base / str(layer)).open("wb") for layer in range(LAYERS)]
    for _ in WINDOWS:
        for file, part in zip(files, BLOCK, strict=True):
            file.write(part.tobytes())
    for file in files:
        file.close()
    return lambda: np.fromfile(base / str(LAYER), np.float32).reshape(-1, WIDTH)


def parquet_shards(base: Path) -> Callable[[], np.ndarray]:
    """One Parquet file a window, a fixed-size list column for each layer, not compressed."""
    for i in WINDOWS:
        columns = {
            str(layer): pa.FixedSizeListArray.from_arrays(part.ravel(), WIDTH)
            for layer, part in enumerate(BLOCK)
        }
        pq.write_table(pa.table(columns), base / f"{i}.parquet", compression="none")

    def read() -> np.ndarray:
        parts = []
        for i in WINDOWS:
            column = pq.read_table(base / f"{i}.parquet", columns=[str(LAYER)])[0]
            parts.append(column.combine_chunks().flatten().to_numpy().reshape(-1, WIDTH))
        return np.concatenate(parts)

    return read


def zarr_chunks(base: Path) -> Callable[[], np.ndarray]:
    """A zarr 3 array `[layer, item, d]`, chunks of one layer and window, not compressed."""
    import zarr

    array = zarr.open_group(base, mode="w").create_array(
        "x", shape=(LAYERS, 0, WIDTH), chunks=(1, WINDOW, WIDTH), dtype="f4", compressors=None
    )
    for i in WINDOWS:
        array.resize((LAYERS, (i + 1) * WINDOW, WIDTH))
        array[:, i * WINDOW : (i + 1) * WINDOW] = BLOCK
    return lambda: zarr.open_group(base, mode="r")["x"][LAYER]


def main() -> None:
    """Write each format three times, read one layer nine times, print the medians."""
    formats = (safetensors_shards, npy_shards, zarr_chunks, parquet_shards, raw_append)
    writes: dict[str, list[float]] = {each.__name__: [] for each in formats}
    reads: dict[str, list[float]] = {each.__name__: [] for each in formats}
    for _ in range(3):
        for each in formats:
            base = Path(tempfile.mkdtemp())
            start = time.perf_counter()
            try:
                read = each(base)
            except ImportError as error:
                print(f"{each.__name__} left out: {error}")
                continue
            writes[each.__name__].append(time.perf_counter() - start)
            for _ in range(3):
                start = time.perf_counter()
                found = read()
                reads[each.__name__].append(time.perf_counter() - start)
            assert np.array_equal(found, np.tile(BLOCK[LAYER], (len(WINDOWS), 1)))
            shutil.rmtree(base)
    for name in writes:
        if writes[name]:
            write, read_ms = statistics.median(writes[name]), 1e3 * statistics.median(reads[name])
            print(f"{name:20} write {write:.2f} s | one layer of all items {read_ms:.1f} ms")


if __name__ == "__main__":
    main()
