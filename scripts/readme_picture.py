"""Make docs/overview.jpg: four made-up parts and what blemish marks on them.

usage: python scripts/readme_picture.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import blemish
from blemish.report.overlay import overlay
from blemish.synthesis.procedural import make_part

PARTS = (("nut", 24, "dent"), ("bottle", 105, "chip"), ("cell", 101, "crack"), ("cast", 102, None))
SIDE = 400


def main() -> None:
    columns = []
    for kind, seed, defect in PARTS:
        normals = [make_part(kind, s, size=(SIDE, SIDE)).sample for s in range(8)]
        detector = blemish.load("patch-memory").fit(normals)
        part = make_part(kind, seed, defect=defect, size=(SIDE, SIDE)).sample
        found = detector.predict([part])[0]
        print(part.id, found.verdict, f"{found.score:.2f}", [r.position for r in found.regions])
        scores = detector.calibration.score(found.anomaly_map)
        marked = overlay(part.image, scores, found.regions, f"{found.verdict} {found.score:.2f}")
        scale = marked.shape[1] / SIDE
        plain = Image.fromarray(part.image).resize((marked.shape[1], round(SIDE * scale)))
        columns.append(np.concatenate([np.asarray(plain), marked]))
    sheet = Image.fromarray(np.concatenate(columns, axis=1))
    sheet.thumbnail((1400, 1400))
    out = Path(__file__).parents[1] / "docs" / "overview.jpg"
    sheet.save(out, quality=85)
    print(out.name, out.stat().st_size // 1000, "kB", sheet.size)


if __name__ == "__main__":
    main()
