"""The sets whose tree is MVTec AD's or nearly so: what differs, one `Tree` each."""

from __future__ import annotations

from functools import partial

from blemish.datasets.layout import Layout
from blemish.datasets.model import Split
from blemish.datasets.tree import Tree, looks_like, read_tree

WITH_VALIDATION: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}


def layout(name: str, tree: Tree) -> Layout:
    """The layout of a tree, as `find.LAYOUTS` lists it."""
    return Layout(name, partial(looks_like, tree=tree), partial(read_tree, tree=tree))


MVTEC_AD_2 = layout(
    "MVTec AD 2, <category>/{train/good,test_public}",
    Tree(
        "mvtec-ad-2",
        splits={"train": "train", "validation": "validation", "test_public": "test"},
        masks="test_public/ground_truth/{kind}",
        signs=("test_public",),
        secret=("test_private", "test_private_mixed"),
    ),
)
MVTEC_3D_AD = layout(
    "MVTec 3D-AD, <category>/{train,test}/good/{rgb,xyz,gt}",
    Tree(
        "mvtec-3d-ad",
        splits=WITH_VALIDATION,
        pictures="rgb",
        masks="{split}/{kind}/gt",
        also={"xyz": ("xyz", ".tiff")},
        signs=("train/good/rgb", "test/good/rgb"),
    ),
)
BTAD = layout("BTAD, {01,02,03}/{train,test}/ok", Tree("btad", good="ok"))
MVTEC_AD = layout("MVTec AD, <category>/{train,test}/good", Tree("mvtec-ad"))
MPDD = layout("MPDD, <category>/{train,test}/good", Tree("mpdd"))
ANY_GOOD = layout(
    "a tree like MVTec AD's, {train,test}/good", Tree("folder", signs=("train", "test"))
)
ANY_OK = layout(
    "a tree like BTAD's, {train,test}/ok", Tree("folder", good="ok", signs=("train", "test"))
)
