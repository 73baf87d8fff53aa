"""What AnomalyGPT's language model costs: seconds a picture, beside plain `generate`, and memory.

    python benchmarks/causal_speed.py

--pictures 16  --batch 8  --rounds 5 (medians)  --threads 2  --adapter FOLDER  --dtype int8 (of the
encoder)  --size 400 (pixels of the made-up parts)

Both ways read the same embeddings and write up to the same number of tokens, the likeliest each.
"Plain" is `transformers.generate`, one picture a call, which reads the prompt's beginning anew each
time; ours keeps it ready and answers a batch together. The two take turns. "Answers" is the
language model alone; "verdict and sentence" is the whole of `predict`, encoder and map included,
with plain `generate` one picture a call too. Answers that differ between the ways are counted.

Memory is the highest of `blemish inspect` on the same pictures, in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from PIL import Image as Pillow

import blemish
from blemish.synthesis.procedural import DEFECTS, make_part
from blemish.types import Inspection, Sample

REFERENCES = 2
Said = Sequence[Any]


class Plain:
    """A `blemish.llms.causal.Causal` that answers by `transformers.generate`, one prompt a call."""

    def __init__(self, causal: Any) -> None:
        self._causal = causal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_causal"], name)

    def generate(
        self,
        prompts: Sequence[Any],
        *,
        prefix: str,
        most: int,
        stop: Sequence[str],
        deciding: Sequence[str],
    ) -> Said:
        return [self._one(prompt, prefix, most, stop, deciding) for prompt in prompts]

    def _one(
        self, prompt: Any, prefix: str, most: int, stop: Sequence[str], deciding: Sequence[str]
    ) -> SimpleNamespace:
        import torch

        causal = self._causal
        begin = [*causal._steps._begin, *causal.tokens(prefix)]
        rows = torch.cat([causal._embedded(begin), prompt])[None]
        with torch.inference_mode():
            made = causal._steps._model.generate(
                inputs_embeds=rows,
                attention_mask=torch.ones(rows.shape[:2], dtype=torch.long),
                max_new_tokens=most,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
                pad_token_id=causal._end,
            )
        chances = made.logits[0].float().softmax(-1)[0]
        ids = [i for i in made.sequences[0].tolist() if i not in causal._ends]
        firsts = causal._first(tuple(deciding)).items()
        words = {word: float(chances[tokens].sum()) for word, tokens in firsts}
        text = causal.text(ids)
        for mark in stop:
            text = text.partition(mark)[0]
        return SimpleNamespace(text=text.strip(), ended="stop", first=words, tokens=len(ids))


class Noting:
    """A language model that keeps what it was asked last."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.prompts: Sequence[Any] = ()
        self.how: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_model"], name)

    def generate(self, prompts: Sequence[Any], **how: Any) -> Any:
        self.prompts, self.how = prompts, how
        return self._model.generate(prompts, **how)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def parts(count: int, size: int) -> tuple[list[Sample], list[Sample]]:
    """Made-up castings to learn from, and to judge: good ones and each defect in turn."""
    side = (size, size)
    defects = (None, *DEFECTS["cast"])
    judged = [
        make_part("cast", 100 + i, defect=defects[i % len(defects)], size=side).sample
        for i in range(count)
    ]
    return [make_part("cast", s, size=side).sample for s in range(REFERENCES)], judged


def predicted(detector: Any, samples: Sequence[Sample], batch: int) -> list[Inspection]:
    starts = range(0, len(samples), batch)
    return [f for start in starts for f in detector.predict(samples[start : start + batch])]


def ways(args: argparse.Namespace) -> dict[str, tuple[int, Callable[[], Any]]]:
    """What is timed by name: how many pictures a call is for, and the call."""
    options: dict[str, Any] = {"adapter": str(args.adapter)} if args.adapter else {}
    # One each: a language model that has written in batches holds its weights in another layout.
    first, second = (
        cast("Any", blemish.load("anomalygpt", dtype=args.dtype, device="cpu", **options))
        for _ in range(2)
    )
    ours, plain = Noting(first.language_model), Plain(second.language_model)
    normals, judged = parts(args.pictures, args.size)
    fast, slow = (
        blemish.load("anomalygpt", encoder=first.encoder, language_model=m, **options).fit(normals)
        for m in (ours, plain)
    )
    fast.predict(judged[: args.batch])
    asked, how = ours.prompts, ours.how
    return {
        "answers, ours": (len(asked), partial(first.language_model.generate, asked, **how)),
        "answers, plain": (len(asked), partial(plain.generate, asked, **how)),
        "whole, ours": (len(judged), partial(predicted, fast, judged, args.batch)),
        "whole, plain": (len(judged), partial(predicted, slow, judged, 1)),
    }


def speed(args: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(args.threads)
    calls = ways(args)
    times: dict[str, list[float]] = {name: [] for name in calls}
    found: dict[str, Any] = {}
    for number in range(args.rounds + 1):  # the first is not counted
        for name, (count, call) in calls.items():
            spent, found[name] = seconds(call)
            times[name] += [spent / count] * bool(number)
    print("| | ours, s a picture | plain `generate`, s a picture | times as fast |")
    print("|---|---|---|---|")
    for what, title in {"answers": "answers", "whole": "verdict and sentence"}.items():
        fast, slow = (statistics.median(times[f"{what}, {way}"]) for way in ("ours", "plain"))
        print(f"| {title} | {fast:.3f} | {slow:.3f} | {slow / fast:.1f} |")
    told(found["answers, ours"], found["answers, plain"], args)


def told(ours: Said, plain: Said, args: argparse.Namespace) -> None:
    """What the two ways wrote of the same embeddings, so that their times can be compared."""
    tokens = [statistics.mean(one.tokens for one in some) for some in (ours, plain)]
    differ = sum(a.text != b.text for a, b in zip(ours, plain, strict=True))
    print(
        f"Batches of {args.batch}, {args.threads} threads; medians of {args.rounds}. Tokens an "
        f"answer: {tokens[0]:.1f} and {tokens[1]:.1f}; {differ} of {len(ours)} answers differ."
    )


def memory(args: argparse.Namespace) -> None:
    """The peak of `blemish inspect`. First of all: a process counts what its parent had."""
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        for name, samples in zip(("good", "parts"), parts(args.pictures, args.size), strict=True):
            (folder / name).mkdir()
            for number, sample in enumerate(samples):
                Pillow.fromarray(sample.image).save(folder / name / f"{number:03d}.png")
        words = ["inspect", "parts", "--normal", "good", "--detector", "anomalygpt"]
        words += ["--dtype", args.dtype, "--device", "cpu", "--out", "found"]
        words += ["--option", f"adapter={args.adapter.resolve()}"] if args.adapter else []
        changed = {f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "MKL", "OPENBLAS")}
        spent, done = seconds(
            lambda: subprocess.run(
                [sys.executable, "-c", "from blemish.cli import main; main()", *words],
                cwd=folder,
                env=os.environ | changed,
                capture_output=True,
                text=True,
            )
        )
        if done.returncode not in (0, 1):
            sys.exit(f"blemish inspect failed: {done.stderr}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"`blemish inspect`, {args.pictures} pictures and {REFERENCES} references: peak memory "
        f"{peak:.0f} MiB, {spent:.1f} s with loading"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ask.add_argument("--pictures", type=int, default=16)
    ask.add_argument("--batch", type=int, default=8)
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--adapter", type=Path)
    ask.add_argument("--dtype", default="auto")
    ask.add_argument("--size", type=int, default=400)
    args = ask.parse_args(arguments)
    memory(args)
    speed(args)


if __name__ == "__main__":
    main()
