"""Write the GGUF: header first, then the tensors, converted by several threads and hashed on the way out."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

from gguf_build import encode
from gguf_build.checkpoint import Checkpoint
from gguf_build.tensors import Tensor

ALIGNMENT = 32  # GGUF's default: every tensor starts at a multiple of it
Planned = Sequence[tuple[Tensor, GGMLQuantizationType]]


def padding(size: int) -> int:
    """Bytes to the next aligned place."""
    return -size % ALIGNMENT


def header(writer: GGUFWriter, path: Path, planned: Planned) -> int:
    """Write everything before the tensors' bytes to `path`; gives the size the whole file will have."""
    for tensor, kind in planned:
        nbytes = encode.size(tensor.shape, kind)
        writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), nbytes, raw_dtype=kind)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    sizes = [encode.size(tensor.shape, kind) for tensor, kind in planned]
    start = path.stat().st_size
    return start + padding(start) + sum(size + padding(size) for size in sizes)


def tensors(checkpoint: Checkpoint, path: Path, planned: Planned, report: Callable[[str, int], None]) -> str:
    """Append all tensors to the header at `path` and fsync; gives the file's SHA-256.

    `report` is told each tensor's name and the bytes written so far. Memory: a few chunks for each thread.
    """
    threads = min(os.cpu_count() or 1, 8)
    with ThreadPoolExecutor(threads) as pool, path.open("r+b") as file:
        digest = hashlib.sha256(file.read())

        def put(data: bytes) -> None:
            file.write(data)
            digest.update(data)

        put(bytes(padding(file.tell())))
        for tensor, last, data in _converted(checkpoint, planned, pool, 2 * threads):
            put(data)
            if last:
                put(bytes(padding(file.tell())))
                report(tensor.name, file.tell())
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _converted(
    checkpoint: Checkpoint, planned: Planned, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[Tensor, bool, bytes]]:
    """Each part's bytes in file order, and whether it is its tensor's last; at most `ahead` are held."""
    waiting: deque[tuple[Tensor, bool, Future[bytes]]] = deque()
    for tensor, kind in planned:
        for part in tensor.parts:
            future = pool.submit(encode.part, checkpoint, part, kind)
            waiting.append((tensor, part is tensor.parts[-1], future))
            if len(waiting) > ahead:
                yield _first(waiting)
    while waiting:
        yield _first(waiting)


def _first(waiting: deque[tuple[Tensor, bool, Future[bytes]]]) -> tuple[Tensor, bool, bytes]:
    tensor, last, future = waiting.popleft()
    return tensor, last, future.result()
