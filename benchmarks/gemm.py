"""The ceiling: floating-point operations a second of a plain matrix product, on the threads that the rows use.

Shapes (rows, outputs, inputs) are those of the models: about 2,000 tokens through attention and feed-forward, and a
square one. The best time of each shape counts.
"""

import argparse
import time
from pathlib import Path

import torch
from workload import THREADS, write_result

SHAPES = [(2048, 2048, 2048), (2048, 512, 512), (2048, 1536, 512), (3200, 1536, 512)]
SECONDS = 1.2


def gflops(dtype: torch.dtype, rows: int, outputs: int, inputs: int) -> float:
    """Best rate of `SECONDS` seconds of repeats, in 1e9 operations a second (a multiply-add is two)."""
    x, weight = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    torch.nn.functional.linear(x, weight)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        best = min(best, time.perf_counter() - started)
    return 2 * rows * outputs * inputs / best / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--result", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    rates = {
        precision: {"x".join(map(str, shape)): round(gflops(dtype, *shape), 1) for shape in SHAPES}
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    write_result(options.result, gflops=rates)
