"""Made-up defects: each takes a scene and returns the scene with one defect in it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from blemish.synthesis._procedural_brush import (
    blob,
    curve,
    displace,
    footprint,
    lay,
    pick,
    place,
    reveal,
)
from blemish.synthesis._procedural_scene import (
    Field,
    Rng,
    Scene,
    inside,
    mix,
    noise,
    octaves,
    ramp,
    soften,
    strokes,
)

# Rust, oil and ink darken what they soak into; chalk brightens it.
_SPILLS = ((0.50, 0.30, 0.16), (0.30, 0.27, 0.22), (0.16, 0.18, 0.32), (1.5, 1.5, 1.45))
_FIBRES = ((0.06, 0.05, 0.05), (0.92, 0.92, 0.90), (0.16, 0.22, 0.48), (0.55, 0.10, 0.10))
_CRUMBS = ((0.70, 0.69, 0.66), (0.14, 0.13, 0.12), (0.50, 0.36, 0.22))


def scratch(scene: Scene, rng: Rng) -> Scene:
    """One to three near-parallel score marks that lay the raw material bare."""
    u, start = scene.unit, place(scene, rng, 12)
    heading, bend = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25)
    base = curve(start, heading, rng.uniform(35, 110) * u, np.linspace(-bend, bend, 16))
    side = np.array([-np.sin(heading), np.cos(heading)]) * u
    lines = [base + side * rng.normal(0, 4) for _ in range(rng.integers(1, 4))]
    width = rng.uniform(0.7, 1.8) * u * np.sin(np.linspace(0.25, np.pi - 0.1, 16))
    marks = strokes(scene.size, lines, width)
    return lay(scene, marks * rng.uniform(0.45, 0.95), scene.raw, rise=-1.3 * u)


def crack(scene: Scene, rng: Rng) -> Scene:
    """A dark jagged line that thins out, often with a branch."""
    line = _jagged(scene, rng) * rng.uniform(0.6, 1)
    return lay(scene, line, scene.albedo * 0.18, rise=-3 * scene.unit, gloss=0)


def fissure(scene: Scene, rng: Rng) -> Scene:
    """A crack in glass, which catches the light."""
    line = _jagged(scene, rng) * rng.uniform(0.35, 0.9)
    return lay(scene, line, scene.raw, rise=-1.5 * scene.unit, gloss=0.3)


def _jagged(scene: Scene, rng: Rng) -> Field:
    """Coverage of a branching zigzag line; along the grain where the scene has one."""
    u, start = scene.unit, place(scene, rng, 16)
    turns = np.cumsum(rng.normal(0, 0.35, 24)) * 0.5 + rng.normal(0, 0.45, 24)
    heading = rng.uniform(0, 2 * np.pi)
    if scene.grain is not None:
        heading, turns = scene.grain + rng.choice([0, np.pi]), 0.3 * turns
    main = curve(start, heading, rng.uniform(45, 110) * u, turns)
    lines = [main]
    for _ in range(rng.integers(0, 3)):
        root = main[rng.integers(6, 18)]
        fork = heading + rng.choice([-1, 1]) * rng.uniform(0.5, 1.0)
        lines.append(curve(root, fork, rng.uniform(15, 40) * u, rng.normal(0, 0.4, 24)))
    width = rng.uniform(1.2, 2.6) * u * np.linspace(1, 0.35, 25)
    return strokes(scene.size, lines, width)


def dent(scene: Scene, rng: Rng) -> Scene:
    """A hollow pressed into the surface; only light and shade give it away."""
    u, (x, y) = scene.unit, scene.axes(place(scene, rng, 22), rng.uniform(0, np.pi))
    radius = rng.uniform(9, 20) * u
    bowl = np.exp(-((x / radius) ** 2) - (y / (radius * rng.uniform(0.55, 1))) ** 2)
    depth = rng.uniform(0.13, 0.45) * radius
    height = scene.height - (depth * bowl * scene.part).astype(np.float32)
    return replace(scene, height=height)


def stain(scene: Scene, rng: Rng) -> Scene:
    """A spill of rust, oil, ink or chalk that soaked in, darker at its rim."""
    u, centre = scene.unit, place(scene, rng, 24)
    distance = blob(scene, rng, centre, rng.uniform(8, 32) * u, 0.3)
    for _ in range(rng.integers(0, 4)):
        drop = centre + rng.normal(0, 26, 2) * u
        distance = np.minimum(distance, blob(scene, rng, drop, rng.uniform(2, 5) * u, 0.2))
    tint = np.array(pick(rng, _SPILLS), np.float32)
    rim = np.exp(-((distance / (2.5 * u)) ** 2))
    amount = rng.uniform(0.3, 0.85) * inside(distance, 3 * u) * (0.8 + 0.2 * rim)
    amount = amount * np.clip(1 + 0.15 * octaves(rng, *scene.axes(), 9 * u), 0, 1.2)
    return lay(scene, amount, np.minimum(scene.albedo * tint, 0.95))


def hole(scene: Scene, rng: Rng) -> Scene:
    """One to three pits or blowholes, dark inside, with a worn edge."""
    u, centre = scene.unit, place(scene, rng, 16)
    distance = blob(scene, rng, centre, rng.uniform(3.5, 8.5) * u, 0.25)
    for _ in range(rng.integers(0, 3)):
        near = centre + rng.normal(0, 11, 2) * u
        distance = np.minimum(distance, blob(scene, rng, near, rng.uniform(1.5, 4) * u, 0.25))
    worn = lay(scene, 0.4 * inside(distance - 1.5 * u, 2 * u), scene.raw)
    return lay(worn, inside(distance, 1.5 * u), scene.albedo * rng.uniform(0.12, 0.4), -7 * u, 0)


def fibre(scene: Scene, rng: Rng) -> Scene:
    """A hair or thread that lies on the part and throws a thin shadow."""
    u, start = scene.unit, place(scene, rng, 12)
    turns = np.cumsum(soften(rng.normal(0, 0.5, (1, 32)).astype(np.float32), 3)[0])
    line = curve(start, rng.uniform(0, 2 * np.pi), rng.uniform(45, 120) * u, turns)
    hair = strokes(scene.size, [line], rng.uniform(1.0, 2.0) * u)
    return lay(scene, hair, pick(rng, _FIBRES), 2.5 * u, 0.02, anywhere=True)


def debris(scene: Scene, rng: Rng) -> Scene:
    """A swarf chip or crumb left on the part."""
    u = scene.unit
    x, y = scene.axes(place(scene, rng, 14), rng.uniform(0, np.pi))
    length, width = rng.uniform(12, 28) * u, rng.uniform(6, 13) * u
    shape = np.abs(x) / length + np.abs(y + 0.02 / u * x * x) / width - 0.5
    distance = shape * width + 0.8 * u * noise(rng, *scene.axes(), 5 * u)
    colour = np.array(pick(rng, _CRUMBS), np.float32) * np.float32(rng.uniform(0.8, 1.2))
    rise = (3.0 + 1.5 * noise(rng, *scene.axes(), 6 * u)) * u
    return lay(scene, inside(distance), colour, rise, 0.15, anywhere=True)


def shade(scene: Scene, rng: Rng) -> Scene:
    """A patch that came out lighter or darker than the rest."""
    u = scene.unit
    distance = blob(scene, rng, place(scene, rng, 30), rng.uniform(22, 42) * u, 0.3)
    change = rng.choice([-1, 1]) * rng.uniform(0.08, 0.28)
    return lay(scene, ramp(6 * u, -6 * u, distance), scene.albedo * np.float32(1 + change))


def missing(scene: Scene, rng: Rng) -> Scene:
    """A piece has broken away, or a mounted thing is not there; what lies under it shows."""
    x, y, width, height, angle = pick(rng, scene.spots)
    local = scene.axes((x, y), angle)
    reach = rng.uniform(0.7, 1.5)
    ragged = 0.12 * noise(rng, *scene.axes(), 7 * scene.unit)
    distance = np.hypot(local[0] / width, local[1] / height) - 0.5 * reach + ragged
    return reveal(scene, inside(distance * min(width, height), 1.5))


def unmounted(scene: Scene, rng: Rng) -> Scene:
    """A component was not placed: bare pads."""
    x, y, width, height, _ = pick(rng, scene.spots)
    return reveal(scene, footprint(scene, x, y, width, height))


def misplaced(scene: Scene, rng: Rng) -> Scene:
    """A component sits turned or beside its pads."""
    x, y, width, height, _ = pick(rng, scene.spots)
    u, around_it = scene.unit, footprint(scene, x, y, width, height)
    turn, slip = rng.choice([-1, 1]) * rng.uniform(9, 32), rng.normal(0, 2.5, 2) * u
    move = cv2.getRotationMatrix2D((float(x), float(y)), float(turn), 1.0)
    move[:, 2] = move[:, 2] + slip
    bare = reveal(scene, around_it)
    lifted = ramp(1.2 * u, 2.0 * u, scene.height - bare.height)
    albedo, height, gloss, where = (
        cv2.warpAffine(a, move, scene.size[::-1], borderMode=cv2.BORDER_REFLECT)
        for a in (scene.albedo, scene.height, scene.gloss, lifted)
    )
    return replace(
        bare,
        albedo=mix(bare.albedo, albedo, where),
        height=mix(bare.height, height, where),
        gloss=mix(bare.gloss, gloss, where),
    )


def fray(scene: Scene, rng: Rng) -> Scene:
    """A thread was pulled: the weave is dragged along it and loose ends stand out."""
    u, centre = scene.unit, place(scene, rng, 30)
    heading = rng.choice([0, np.pi / 2]) + rng.normal(0, 0.08)
    x, y = scene.axes(centre, heading)
    length, width = rng.uniform(24, 50) * u, rng.uniform(7, 12) * u
    pull = rng.choice([-1, 1]) * rng.uniform(5, 9) * u
    pull = pull * np.exp(-((x / length) ** 2) - (y / width) ** 2)
    pulled = displace(scene, pull * np.cos(heading + 1.3), pull * np.sin(heading + 1.3))
    lines = []
    for _ in range(rng.integers(2, 6)):
        root, lie = centre + rng.normal(0, 4, 2) * u, heading + rng.normal(0, 0.5)
        curl = np.cumsum(rng.normal(0, 0.22, 16))
        lines.append(curve(root, lie, rng.uniform(18, 46) * u, curl))
    loose = strokes(scene.size, lines, rng.uniform(0.9, 1.6) * u)
    return lay(pulled, loose, scene.raw, 3 * u)


def bent(scene: Scene, rng: Rng) -> Scene:
    """A wire was pushed aside."""
    u = scene.unit
    x, y, width, height, angle = pick(rng, scene.spots)
    across = angle + (np.pi / 2 if width > height else 0)
    local = scene.axes((x, y), across)
    push = rng.choice([-1, 1]) * rng.uniform(4, 9) * u
    push = push * np.exp(-((local[0] / (13 * u)) ** 2) - (local[1] / (17 * u)) ** 2)
    return displace(scene, push * np.cos(across), push * np.sin(across))


def chip(scene: Scene, rng: Rng) -> Scene:
    """A shell of glass has come off the rim and left a rippled, paler hollow."""
    u = scene.unit
    x, y, width, _, _ = pick(rng, scene.spots)
    distance = blob(scene, rng, (x, y), rng.uniform(0.45, 1.0) * width, 0.2)
    waves = distance * (2 * np.pi / (rng.uniform(3, 5) * u))
    ripples = np.cos(waves + noise(rng, *scene.axes(), 9 * u))
    hollow = 0.5 * distance + 0.4 * u * ripples
    paler = mix(scene.albedo, scene.raw, 0.25 + 0.1 * ramp(-1, 1, ripples))
    return lay(scene, inside(distance, 1.5), paler, hollow, 0.25)


def inactive(scene: Scene, rng: Rng) -> Scene:
    """A piece of a solar cell that a crack has cut off carries less current and glows less."""
    u = scene.unit
    start, heading = place(scene, rng, 30), rng.uniform(0, 2 * np.pi)
    x, y = scene.axes(start, heading)
    wavy = 2 * u * noise(rng, *scene.axes(), 14 * u)
    bounds = [
        x * np.cos(a) + y * np.sin(a) - rng.uniform(16, 44) * u + wavy
        for a in np.arange(4) * np.pi / 2 + rng.normal(0, 0.3, 4)
    ]
    distance = np.max(bounds, axis=0)
    dimmer = scene.albedo * np.float32(rng.uniform(0.25, 0.75))
    return lay(scene, inside(distance, 2 * u), dimmer)


def fingers(scene: Scene, rng: Rng) -> Scene:
    """Broken fingers: dark bars between two busbars."""
    u = scene.unit
    x, y, width, _, angle = pick(rng, scene.spots)
    amount = np.zeros(scene.size, np.float32)
    for step in range(rng.integers(1, 5)):
        local = scene.axes((x, y + 5.5 * u * step), angle)
        start, end = np.sort(rng.uniform(-0.5, 0.5, 2)) * width
        begins = ramp(start - 4 * u, start + 4 * u, local[0])
        ends = ramp(end + 26 * u, end + 14 * u, local[0])
        bar = begins * ends * np.exp(-((local[1] / (2.6 * u)) ** 2))
        amount = np.maximum(amount, bar)
    return lay(scene, amount * rng.uniform(0.35, 0.8), scene.albedo * 0.35)
