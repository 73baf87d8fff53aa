"""CLIP against a forward pass written out in plain torch, under open_clip's names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as f

from blemish.encoders._clip_vision import windows_of
from blemish.encoders.clip import Clip
from blemish.errors import OptionError
from blemish.settings import settings
from blemish.types import Encoder

Write = Callable[..., tuple[dict[str, Any], dict[str, torch.Tensor]]]
MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BLEMISH_CACHE", str(tmp_path / "cache"))
    settings.cache_clear()
    yield
    settings.cache_clear()


class Reference:
    """The published forward pass."""

    def __init__(self, described: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
        self.state, self.vision, self.text = state, described["vision_cfg"], described["text_cfg"]
        self.quick = described.get("quick_gelu", False)
        self.heads = self.vision["width"] // self.vision.get("head_width", 64)
        self.values = torch.empty(0)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        s = self.state
        return f.layer_norm(x, x.shape[-1:], s[f"{name}.weight"], s[f"{name}.bias"], 1e-5)

    def layer(
        self, x: torch.Tensor, p: str, heads: int, mask: torch.Tensor | float = 0.0
    ) -> torch.Tensor:
        s, n = self.state, len(x)
        q, k, v = f.linear(
            self.norm(x, f"{p}ln_1"), s[f"{p}attn.in_proj_weight"], s[f"{p}attn.in_proj_bias"]
        ).chunk(3, -1)
        self.values = v
        q, k, v = (t.reshape(n, heads, -1).transpose(0, 1) for t in (q, k, v))
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5 + mask).softmax(-1)
        mixed = (weights @ v).transpose(0, 1).reshape(n, -1)
        x = x + f.linear(mixed, s[f"{p}attn.out_proj.weight"], s[f"{p}attn.out_proj.bias"])
        y = f.linear(self.norm(x, f"{p}ln_2"), s[f"{p}mlp.c_fc.weight"], s[f"{p}mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y) if self.quick else f.gelu(y)
        return x + f.linear(y, s[f"{p}mlp.c_proj.weight"], s[f"{p}mlp.c_proj.bias"])

    def start(self, image: NDArray[np.uint8]) -> torch.Tensor:
        """(1 + cells, width): tokens of an image of the model's own size."""
        s, patch = self.state, self.vision["patch_size"]
        kernel = s["visual.conv1.weight"]
        x = ((torch.tensor(image, dtype=kernel.dtype) / 255 - MEAN) / STD).permute(2, 0, 1)
        cells = x.unfold(1, patch, patch).unfold(2, patch, patch).permute(1, 2, 0, 3, 4)
        cells = cells.reshape(-1, 3 * patch * patch) @ kernel.reshape(len(kernel), -1).T
        x = torch.cat([s["visual.class_embedding"][None], cells])
        return self.norm(x + s["visual.positional_embedding"], "visual.ln_pre")

    def layers(self, x: torch.Tensor, mask: torch.Tensor | float = 0.0) -> list[torch.Tensor]:
        found = []
        for i in range(self.vision["layers"]):
            x = self.layer(x, f"visual.transformer.resblocks.{i}.", self.heads, mask)
            found.append(x)
        return found

    def joint(self, x: torch.Tensor) -> torch.Tensor:
        return f.normalize(self.norm(x, "visual.ln_post") @ self.state["visual.proj"], dim=-1)

    def words(self, ids: list[int]) -> NDArray[np.float32]:
        """The embedding of one text, padded with zeros as open_clip does."""
        s, n = self.state, self.text["context_length"]
        padded = torch.tensor(ids + [0] * (n - len(ids)))
        x = s["token_embedding.weight"][padded] + s["positional_embedding"]
        mask = torch.full((n, n), -torch.inf).triu(1)
        for i in range(self.text["layers"]):
            x = self.layer(x, f"transformer.resblocks.{i}.", self.text["heads"], mask)
        x = self.norm(x, "ln_final")[int(padded.argmax())]
        return f.normalize(x @ s["text_projection"], dim=-1).numpy()


def close(found: Any, wanted: Any, within: float = 1e-5) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=within)


def pictures(side: int, count: int = 3) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(1).integers(0, 255, (count, side, side, 3), np.uint8))


def ids(text: str) -> list[int]:
    """Tokens in the tests' vocabulary, which merges nothing but "cat"."""
    found = [514]
    for word in text.split():
        if word == "cat":
            found.append(513)
        else:
            found += [ord(c) - 33 for c in word[:-1]] + [256 + ord(word[-1]) - 33]
    return [*found, 515]


@pytest.fixture
def both(tmp_path: Path, write_clip: Write) -> tuple[Clip, Reference]:
    truth = Reference(*write_clip(tmp_path / "tiny"))
    return Clip(tmp_path / "tiny"), truth


@pytest.mark.parametrize("name", ["ViT-B-16-plus-240", "ViT-L-14-336-quickgelu", "ViT-H-14"])
def test_an_open_clip_checkpoint_embeds_as_its_publishers_forward_pass(
    tmp_path: Path, write_clip: Write, name: str
) -> None:
    truth = Reference(*write_clip(tmp_path / "tiny", name))
    clip = Clip(tmp_path / "tiny", batch_size=2)
    assert isinstance(clip, Encoder)
    images = pictures(clip.default_size)
    joint = clip.joint(images)
    found = clip.encode(images, layers=range(1, clip.depth + 1), size=clip.default_size)
    for i, image in enumerate(images):
        layers = truth.layers(truth.start(image))
        want = truth.joint(layers[-1]).numpy()
        side = joint.patches.shape[1]
        close(clip.embed(images)[i], want[0])
        close(joint.embeddings[i], want[0])
        close(joint.patches[i], want[1:].reshape(side, side, -1))
        close(joint.values[i], truth.values.numpy())
        close(joint.tokens[i], layers[-1][1:].reshape(side, side, -1).numpy(), within=1e-4)
        for k, layer in enumerate(layers, 1):
            cells = layer[1:].reshape(side, side, -1).numpy()
            close(found[i].patches[k], cells, within=1e-4)
        close(found[i].class_token, layers[-1][0].numpy(), within=1e-4)
    texts = ["a cat", "no cat a b", "B"]
    want = np.stack([truth.words(ids(text.lower())) for text in texts])
    close(clip.encode_text(texts), want)
    assert clip.logit_scale == pytest.approx(100, rel=1e-6)
    assert (clip.dim, clip.name) == (want.shape[1], f"clip:{(tmp_path / 'tiny').resolve()}")


def vv_path(truth: Reference, x: torch.Tensor) -> torch.Tensor:
    """The tokens of the V-V path, head by head and query by query."""
    s, depth, heads = truth.state, truth.vision["layers"], truth.heads
    beside = torch.empty(0)
    for i in range(depth):
        if i == depth // 2:
            beside = x.clone()
        p = f"visual.transformer.resblocks.{i}."
        x = truth.layer(x, p, heads)
        if i < depth // 2:
            continue
        mixed = torch.empty_like(x)
        for part in torch.arange(x.shape[1]).chunk(heads):
            v = truth.values[:, part]
            for n, query in enumerate(v):
                mixed[n, part] = (v @ query / len(part) ** 0.5).softmax(0) @ v
        beside += mixed @ s[f"{p}attn.out_proj.weight"].T + s[f"{p}attn.out_proj.bias"]
    return beside


@pytest.mark.parametrize("name", ["ViT-B-16-plus-240", "ViT-H-14"])
def test_the_vv_path_equals_a_plain_loop_over_heads(
    tmp_path: Path, write_clip: Write, name: str
) -> None:
    described, state = write_clip(tmp_path / "tiny", name)
    truth = Reference(described, {k: tensor.double() for k, tensor in state.items()})
    clip = Clip(tmp_path / "tiny", batch_size=2)
    images = pictures(clip.default_size)
    plain, found = clip.joint(images), clip.joint(images, vv=True)
    for i, image in enumerate(images):
        want = truth.joint(vv_path(truth, truth.start(image)))[1:]
        close(found.patches[i], want.reshape(found.patches[i].shape).numpy())
    assert np.abs(found.patches - plain.patches).max() > 0.1
    assert np.array_equal(found.embeddings, plain.embeddings)
    assert np.array_equal(found.values, plain.values)
    assert np.array_equal(found.tokens, plain.tokens)


def test_the_value_projection_is_what_attention_to_one_token_gives(
    both: tuple[Clip, Reference],
) -> None:
    """The softmax over one token is 1, so its value is all that passes."""
    clip, model = both[0], both[0]._model
    attention = model.vision_model.encoder.layers[-1].self_attn
    tokens = torch.randn(5, 1, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        values = attention.v_proj(tokens)
        passed = attention(tokens)[0] - attention.out_proj.bias
        want = model.visual_projection(passed)
    assert clip.value_projection.shape == (128, 48)
    close(values.numpy() @ clip.value_projection, want.numpy())


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_windows_equal_each_window_alone_and_attention_masked_outside(
    both: tuple[Clip, Reference], scale: int
) -> None:
    clip, truth = both
    images = pictures(40)
    found = clip.windows(images, scale, values=True)
    assert found.values is not None
    assert len(found.places) == (5 - scale + 1) ** 2
    for i, image in enumerate(images):
        start = truth.start(image)
        for n, (row, column) in enumerate(found.places):
            inside = np.zeros((5, 5), bool)
            inside[row : row + scale, column : column + scale] = True
            rows = [0, *(1 + np.flatnonzero(inside))]
            assert found.rows[n].tolist() == rows
            alone = truth.joint(truth.layers(start[rows])[-1])[0].numpy()
            close(found.values[i, n], truth.values.numpy())
            close(found.embeddings[i, n], alone)
            mask = torch.full((26,), -torch.inf)
            mask[rows] = 0
            masked = truth.joint(truth.layers(start, mask)[-1])[0].numpy()
            close(found.embeddings[i, n], masked)


def test_the_largest_window_is_the_picture(both: tuple[Clip, Reference]) -> None:
    clip, images = both[0], pictures(40)
    whole, joint = clip.windows(images, 5, values=True), clip.joint(images)
    close(whole.embeddings[:, 0], joint.embeddings)
    assert whole.values is not None
    close(whole.values[:, 0], joint.values)


def test_windows_do_not_depend_on_the_batch(tmp_path: Path, both: tuple[Clip, Reference]) -> None:
    images = pictures(40)
    few, many = Clip(tmp_path / "tiny", batch_size=1), Clip(tmp_path / "tiny", batch_size=8)
    for one, two in zip(
        *(c.windows(images, 2, values=True).values for c in (few, many)), strict=True
    ):
        close(one, two)


def test_the_layout_of_windows() -> None:
    places, rows = windows_of(3, 2)
    assert places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert rows.tolist() == [[0, 1, 2, 4, 5], [0, 2, 3, 5, 6], [0, 4, 5, 7, 8], [0, 5, 6, 8, 9]]
    for scale in (0, 4):
        with pytest.raises(OptionError, match="has windows of 1 to 3"):
            windows_of(3, scale)


def test_positions_are_the_stored_ones_at_the_own_size(both: tuple[Clip, Reference]) -> None:
    clip, truth = both
    stored = truth.state["visual.positional_embedding"]
    assert torch.equal(clip._vision.positions((5, 5))[0], stored)


@pytest.mark.parametrize("grid", [(7, 7), (3, 3), (4, 9)])
def test_positions_of_another_size_are_resized_as_a_picture_is(
    both: tuple[Clip, Reference], grid: tuple[int, int]
) -> None:
    clip, truth = both
    stored = truth.state["visual.positional_embedding"].numpy()
    with torch.inference_mode():
        found = clip._vision.positions(grid)[0].numpy()
    assert np.array_equal(found[0], stored[0])
    for channel in (0, 77):
        # Pillow's bicubic filter is the antialiased one that open_clip asks torch for.
        plane = PIL.Image.fromarray(np.ascontiguousarray(stored[1:, channel].reshape(5, 5)))
        want = np.asarray(plane.resize(grid[::-1], PIL.Image.Resampling.BICUBIC))
        close(found[1:, channel].reshape(grid), want)


def test_sizes_and_shapes_of_pictures(both: tuple[Clip, Reference]) -> None:
    clip = both[0]
    wide = np.random.default_rng(2).integers(0, 255, (30, 120, 3), np.uint8)
    (found,) = clip.encode([wide], layers=clip.default_layers, size=80)
    assert found.patches[clip.default_layers[0]].shape == (5, 20, 128)  # its aspect ratio is kept
    assert clip.joint([wide], size=60).patches.shape == (1, 7, 7, 48)
    assert clip.joint([wide], size=60).values.shape == (1, 50, 128)
    assert clip.windows([wide], 3, size=60).embeddings.shape == (1, 25, 48)
    assert clip.windows([wide], 3, size=60).values is None
    assert clip.embed([]).shape == (0, 48)


def test_the_whole_picture_is_seen_unless_a_crop_is_asked_for(
    both: tuple[Clip, Reference],
) -> None:
    clip = both[0]
    wide = np.random.default_rng(2).integers(0, 255, (40, 100, 3), np.uint8)
    other = wide.copy()
    other[:, :20] = 0
    whole, cropped = clip.embed([wide, other]), clip.embed([wide, other], crop=True)
    assert np.abs(whole[0] - whole[1]).max() > 0.01
    close(cropped[0], cropped[1])
    close(cropped[0], clip.embed([wide[:, 30:70]])[0])


def test_wrong_settings_are_refused(tmp_path: Path, both: tuple[Clip, Reference]) -> None:
    clip, image = both[0], pictures(40)[0]
    with pytest.raises(OptionError, match="1 to 3"):
        clip.encode([image], layers=[4], size=40)
    with pytest.raises(OptionError, match="at least 8 pixels"):
        clip.joint([image], size=7)
    with pytest.raises(OptionError, match="no dtype 'float16' on cpu"):
        Clip(tmp_path / "tiny", dtype="float16")
