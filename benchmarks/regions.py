"""What GPT-4V-AD can reach at best with each division into regions, and how fast it divides.

    python benchmarks/regions.py --data FOLDER [--limit N] [--by-kind] [--sam CHECKPOINT]

FOLDER is any data set with masks that `blemish datasets` knows. Instead of a language model's
answer every region gets its true score, the share of its pixels that the mask marks; the map is
filled and judged at each picture's own size. No other score per region gives a higher pixel AUROC,
AP or F1-max; AU-PRO, which weighs small defects more, could come out a little higher. Figures are
those of all test pictures of a category, averaged over categories. Pictures labelled defective
whose mask is empty are left out.

SAM needs a checkpoint (`--sam`, such as facebook/sam-vit-huge or a folder). Without one its row
says `unmeasured`. `--stand-in` adds felzenszwalb's graph-based segments: they follow the picture's
content and leave places out, which is all that they have in common with SAM's masks.

`--by-kind` adds the figures of each kind of defect against the good pictures of its category.

Images per second are of CPU time, reading excluded; run it on one core (`taskset -c 0`).
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blemish.datasets.find import open_dataset
from blemish.datasets.model import Item
from blemish.metrics.pixels import PixelAccumulator
from blemish.regions import division, marks
from blemish.regions.division import LARGEST, SIDE, SMALLEST, Division, fill, working
from blemish.regions.sam import Sam
from blemish.types import Image, Mask

Divide = Callable[[Image], Division]


class Felzenszwalb:
    """Graph-based segments (Felzenszwalb and Huttenlocher 2004) in the place of SAM's masks.

    The scale gives 46 to 184 segments on three made-up parts; it was not chosen on any data set.
    """

    name = fingerprint = "felzenszwalb"

    def masks(self, image: Image) -> NDArray[np.bool_]:
        from skimage.segmentation import felzenszwalb

        labels = felzenszwalb(image, scale=100, sigma=0.8, min_size=SMALLEST)
        areas = np.bincount(labels.ravel())
        kept = np.flatnonzero((areas >= SMALLEST) & (areas <= LARGEST))
        return np.stack([labels == i for i in kept] or [np.zeros((SIDE, SIDE), np.bool_)])


@dataclass
class Measured:
    """What a division reached so far."""

    pixels: dict[tuple[str, str], PixelAccumulator] = field(
        default_factory=lambda: defaultdict(PixelAccumulator)
    )
    """By category and kind of defect."""
    regions: list[int] = field(default_factory=list)
    hidden: list[float] = field(default_factory=list)
    missed: int = 0
    dividing: float = 0.0
    drawing: float = 0.0


def add(total: Measured, divide: Divide, item: Item, image: Image, mask: Mask) -> None:
    """Divide one picture, score its regions by its mask, and time it."""
    start = time.process_time()
    found = divide(image)
    divided = time.process_time()
    drawn = marks.draw(image, found)
    total.drawing += time.process_time() - divided
    total.dividing += divided - start
    total.hidden.append(float((drawn != working(image)).any(2).mean()))
    labels = found.at(*mask.shape).ravel()
    marked = np.bincount(labels, mask.ravel(), found.count + 1)
    share = marked / np.maximum(np.bincount(labels, minlength=found.count + 1), 1)
    scores = {number: float(share[number]) for number in range(1, found.count + 1)}
    total.pixels[item.category, item.kind].add(fill(found, scores, *mask.shape), mask, item.id)
    total.regions.append(found.count)
    total.missed += int(marked[0])


def figures(parts: Iterable[PixelAccumulator]) -> list[float]:
    """Pixel AUROC, AP, F1-max and AU-PRO of all of them together."""
    p = sum(parts, PixelAccumulator())
    return [p.auroc(), p.average_precision(), p.f1_max()[0], p.au_pro()]


def row(name: str, total: Measured) -> str:
    """One line of the table."""
    categories = sorted({category for category, _ in total.pixels})
    each = [figures(p for (of, _), p in total.pixels.items() if of == c) for c in categories]
    anomalous = sum(p.counts.anomalous_pixels for p in total.pixels.values())
    count = len(total.regions)
    cells = [f"{value:.3f}" for value in np.mean(each, axis=0)]
    cells += [f"{np.mean(total.regions):.1f}", f"{total.missed / anomalous:.1%}"]
    cells += [f"{np.mean(total.hidden):.1%}"]
    cells += [f"{count / seconds:.3g}" for seconds in (total.dividing, total.drawing)]
    return f"| {name} | " + " | ".join(cells) + " |"


def by_kind(totals: Mapping[str, Measured]) -> None:
    """One table of the kinds of defect, each against the good pictures of its category."""
    print("\n| division | defect | pixel AUROC | AP | F1-max | AU-PRO |\n|" + "---|" * 6)
    for name, total in totals.items():
        for (category, kind), pixels in sorted(total.pixels.items()):
            if pixels.counts.regions:
                reached = figures((pixels, total.pixels[category, "good"]))
                cells = " | ".join(f"{value:.3f}" for value in reached)
                print(f"| {name} | {category} {kind} | {cells} |")


def chosen(items: Sequence[Item], limit: int | None) -> list[Item]:
    """Test pictures with a known truth, evenly thinned to `limit`."""
    known = [item for item in items if item.split == "test" and item.label]
    steps = np.linspace(0, len(known) - 1, min(limit or len(known), len(known)))
    return [known[int(i)] for i in steps]


def main() -> None:
    ask = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    ask.add_argument("--data", type=Path, required=True)
    ask.add_argument("--limit", type=int, help="so many test pictures, evenly drawn")
    ask.add_argument("--sam", help="a SAM checkpoint in the format of transformers")
    ask.add_argument("--device", default="cpu", help="of SAM")
    ask.add_argument("--by-kind", action="store_true", help="each kind of defect, too")
    ask.add_argument("--stand-in", action="store_true", help="felzenszwalb's segments too")
    args = ask.parse_args()

    divisions: dict[str, Divide] = {"grid": division.grid, "superpixel": division.superpixel}
    if args.stand_in:
        stand_in = Felzenszwalb()
        divisions["felzenszwalb, not SAM"] = lambda image: division.sam(image, stand_in)
    if args.sam:
        segmenter = Sam(args.sam, device=args.device)
        divisions["sam"] = lambda image: division.sam(image, segmenter)
    totals = {name: Measured() for name in divisions}
    used = 0
    for item in chosen(open_dataset(args.data).items, args.limit):
        image = item.image()
        mask = item.mask(image)
        if mask is None or (item.label == "anomalous" and not mask.any()):
            continue
        for name, divide in divisions.items():
            if not used:
                divide(image)  # imports and caches are no part of the time
            add(totals[name], divide, item, image, mask)
        used += 1
    print(f"{used} pictures of {args.data.name}; every region has its true overlap as score.\n")
    print(
        "| division | pixel AUROC | AP | F1-max | AU-PRO | regions an image | "
        "defect pixels left out | pixels hidden by marks | divisions/s | drawings/s |"
    )
    print("|" + "---|" * 10)
    for name, total in totals.items():
        print(row(name, total))
    if not args.sam:
        print("| sam |" + " unmeasured |" * 9)
    if args.by_kind:
        by_kind(totals)


if __name__ == "__main__":
    main()
