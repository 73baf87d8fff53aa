"""What IAD-GPT's multi-mask fusion costs beside AnomalyGPT's prompt learner: rows of table V.

    python benchmarks/fusion.py

--batch 16 (pictures a call)  --rounds 7 (medians)  --threads 1  --device cpu  --compact 576 (W of
the compact sizes)

The published sizes speak to Vicuna, W = 4,096; the compact ones to a small language model. Modules
take turns, in float32 and without learning; each has seen its pictures once before it is timed.
Multiply-adds are counted on one picture, without numbers.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from blemish.detectors._anomalygpt_modules import (
    MAP,
    CompactPromptLearner,
    PublishedPromptLearner,
    parameters,
)
from blemish.detectors._iad_gpt_modules import MultiMaskFusion

VICUNA, SPREAD, LAYERS, SIDE = 4096, 0.1, 4, 224


def modules(width: int) -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Each module by name, and the shape of what it takes of one picture."""
    return {
        "prompt learner, published": (PublishedPromptLearner(VICUNA), (SIDE, SIDE)),
        "fusion, published": (MultiMaskFusion(VICUNA, None, LAYERS), (LAYERS, SIDE, SIDE)),
        "prompt learner, compact": (CompactPromptLearner(width, SPREAD), (MAP, MAP)),
        "fusion, compact": (MultiMaskFusion(width, SPREAD, LAYERS), (LAYERS, MAP, MAP)),
    }


def multiply_adds(width: int) -> dict[str, float]:
    found = {}
    with torch.device("meta"):
        for name, (module, shape) in modules(width).items():
            with FlopCounterMode(display=False) as counter:
                module(torch.empty(1, *shape))
            found[name] = counter.get_total_flops() / 2
    return found


def seconds(module: nn.Module, maps: torch.Tensor) -> float:
    start = time.perf_counter()
    module(maps)
    if maps.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(arguments: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--batch", type=int, default=16)
    ask.add_argument("--rounds", type=int, default=7)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--device", default="cpu")
    ask.add_argument("--compact", type=int, default=576)
    args = ask.parse_args(arguments)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    made = {
        name: (module.to(args.device), torch.rand(args.batch, *shape, device=args.device))
        for name, (module, shape) in modules(args.compact).items()
    }
    times: dict[str, list[float]] = {name: [] for name in made}
    with torch.inference_mode():
        for number in range(args.rounds + 1):  # the first is not counted
            for name, (module, maps) in made.items():
                times[name] += [seconds(module, maps)] * bool(number)
    counts = multiply_adds(args.compact)
    print("| | pictures a second | parameters, M | multiply-adds a picture, G |")
    print("|---|---|---|---|")
    for name, (module, _) in made.items():
        rate = args.batch / statistics.median(times[name])
        print(
            f"| {name} | {rate:.1f} | {parameters(module) / 1e6:.2f} | {counts[name] / 1e9:.3f} |"
        )
    print(
        f"Batches of {args.batch}, {args.device}, {args.threads} threads; medians of {args.rounds}."
    )


if __name__ == "__main__":
    main()
