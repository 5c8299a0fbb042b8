"""FP8 as DeepSeek-V3 ships it: e4m3 values, and one float32 factor for each block of 128 x 128."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def _e4m3() -> Floats:
    """The value of each of the 256 bytes: 4 bits exponent (bias 7), 3 mantissa, no infinity, 0x7f is NaN."""
    byte = np.arange(256)
    exponent, mantissa = byte >> 3 & 15, byte & 7
    normal = (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    subnormal = mantissa / 8 * 2.0**-6
    values = np.where(exponent > 0, normal, subnormal) * np.where(byte < 128, 1, -1)
    values[[0x7F, 0xFF]] = np.nan
    return values.astype(np.float32)


E4M3 = _e4m3()


def dequantise(stored: npt.NDArray[np.uint8], scales: Floats, block: tuple[int, int], first_row: int) -> Floats:
    """Rows `first_row` and on of a matrix as float32.

    `scales` is the whole matrix's, one factor for each block of `block` (rows, columns); the last block of
    either axis may be cut. The factor multiplies, though DeepSeek calls it weight_scale_inv.
    """
    rows = np.arange(first_row, first_row + stored.shape[0]) // block[0]
    columns = np.arange(stored.shape[1]) // block[1]
    values: Floats = E4M3[stored]
    values *= scales[rows][:, columns]
    return values
