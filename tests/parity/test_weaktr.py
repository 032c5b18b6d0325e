"""WeakTr's fine CAM step by step, its checkpoints' names and shapes, and what of it learns."""

import pytest
import timm
import torch
import torch.nn.functional as F

from semples.models.generators import build_generator
from semples.models.generators.weaktr import UNUSED_COCO_IDS, WeakTr

TINY, SMALL = "deit_tiny_patch16_224", "deit_small_patch16_224"


@pytest.fixture
def generator() -> WeakTr:
    torch.manual_seed(0)
    return build_generator("weaktr", 3, TINY, drop_path=0.1).double().eval()


def by_steps(model: WeakTr, image: torch.Tensor, pool: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Fine CAM (classes, h, w) and the three logits of one image, a step and a token at a time."""
    state, classes, heads = model.state_dict(), model.classes, model.blocks[0].attn.num_heads
    rows, columns, patch = image.shape[1] // 16, image.shape[2] // 16, state["patch_embed.proj.weight"]
    pixels = (image - model.mean) / model.std
    cells = [pixels[:, 16 * r : 16 * r + 16, 16 * c : 16 * c + 16] for r in range(rows) for c in range(columns)]
    patches = [(patch * cell).sum((1, 2, 3)) + state["patch_embed.proj.bias"] for cell in cells]
    positions = state["pos_embed"][0, classes:].view(14, 14, -1).permute(2, 0, 1)[None]
    positions = F.interpolate(positions.float(), (rows, columns), mode="bicubic")[0].double().flatten(1).T
    tokens = torch.stack(
        [state["cls_token"][0, k] + state["pos_embed"][0, k] for k in range(classes)]
        + [embedded + position for embedded, position in zip(patches, positions)]
    )
    maps, features = {}, {}
    for i in range(len(model.blocks)):
        w = {name.removeprefix(f"blocks.{i}."): v for name, v in state.items() if name.startswith(f"blocks.{i}.")}
        inside = F.layer_norm(tokens, tokens.shape[1:], w["norm1.weight"], w["norm1.bias"], 1e-6)
        query, key, value = (inside @ w["attn.qkv.weight"].T + w["attn.qkv.bias"]).chunk(3, dim=1)
        width, mixed = query.shape[1] // heads, []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            maps[head, i] = (query[:, part] @ key[:, part].T / width**0.5).softmax(1)
            mixed.append(maps[head, i] @ value[:, part])
        output = torch.cat(mixed, dim=1) @ w["attn.proj.weight"].T + w["attn.proj.bias"]
        for head in range(heads):
            features[head, i] = output[:, head::heads]  # the released code's order of channels
        tokens = tokens + output
        inside = F.layer_norm(tokens, tokens.shape[1:], w["norm2.weight"], w["norm2.bias"], 1e-6)
        hidden = F.gelu(inside @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"])
        tokens = tokens + hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    order = [(head, i) for head in range(heads) for i in range(len(model.blocks))]
    f = {name.removeprefix("adaptive_attention_fusion."): value for name, value in state.items()}
    scalars = []
    for place in order:
        pooled = features[place].max(0).values if pool == "max" else features[place].mean(0)
        hidden = f["attn_feat_ffn.0.weight"] @ pooled + f["attn_feat_ffn.0.bias"]
        scalars.append(f["attn_feat_ffn.1.weight"] @ hidden + f["attn_feat_ffn.1.bias"])
    hidden = (f["attn_head_ffn.0.weight"] @ torch.cat(scalars)).relu()
    weights = (f["attn_head_ffn.2.weight"] @ hidden).sigmoid()
    fused = sum(weight * maps[place] for weight, place in zip(weights, order)) / len(order)
    grid = tokens[classes:].T.reshape(-1, rows, columns)
    scores = F.conv2d(grid[None], state["head.weight"], state["head.bias"], padding=1)[0]
    fine = torch.zeros(classes, rows * columns, dtype=image.dtype)
    for k in range(classes):
        for here in range(rows * columns):
            for there in range(rows * columns):
                coarse = fused[k, classes + there] * scores[k].flatten()[there].relu()
                fine[k, here] += fused[classes + here, classes + there] * coarse
    logits = [tokens[:classes].mean(1), scores.mean((1, 2)), fine.mean(1)]
    return fine.view(classes, rows, columns), logits


@pytest.mark.parametrize("pool", ["max", "avg"])
@torch.no_grad()
def test_fine_cam_and_logits_equal_the_steps(pool):
    torch.manual_seed(0)
    model = build_generator("weaktr", 2, TINY, fusion_pool=pool, fusion_reduction=4).double().eval()
    image = torch.rand(3, 48, 64, dtype=torch.float64)
    cams, logits = by_steps(model, image, pool)
    found = model(image[None])
    assert cams.std() > 0
    assert torch.allclose(found.cams[0], cams, rtol=1e-9, atol=1e-12)
    for mine, expected in zip(found.logits, logits, strict=True):
        assert torch.allclose(mine[0], expected, rtol=1e-9, atol=1e-12)


def public_checkpoint(classes: int) -> dict[str, torch.Tensor]:
    """Random tensors under the names and in the shapes of a released WeakTr DeiT-S checkpoint."""
    reduction, shapes = (8 if classes == 20 else 4), {}
    shapes |= {"cls_token": (1, classes, 384), "pos_embed": (1, classes + 196, 384)}
    shapes |= {"patch_embed.proj.weight": (384, 3, 16, 16), "patch_embed.proj.bias": (384,)}
    for i in range(12):
        for name, *size in (("attn.qkv", 1152, 384), ("attn.proj", 384, 384), ("mlp.fc1", 1536, 384)):
            shapes |= {f"blocks.{i}.{name}.weight": tuple(size), f"blocks.{i}.{name}.bias": tuple(size[:1])}
        shapes |= {f"blocks.{i}.mlp.fc2.weight": (384, 1536), f"blocks.{i}.mlp.fc2.bias": (384,)}
        shapes |= {f"blocks.{i}.{norm}.{part}": (384,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    shapes |= {"norm.weight": (384,), "norm.bias": (384,), "head.weight": (classes, 384, 3, 3), "head.bias": (classes,)}
    fusion = "adaptive_attention_fusion."
    shapes |= {f"{fusion}attn_head_ffn.0.weight": (72 // reduction, 72)}
    shapes |= {f"{fusion}attn_head_ffn.2.weight": (72, 72 // reduction)}
    shapes |= {f"{fusion}attn_feat_ffn.0.weight": (8, 64), f"{fusion}attn_feat_ffn.0.bias": (8,)}
    shapes |= {f"{fusion}attn_feat_ffn.1.weight": (1, 8), f"{fusion}attn_feat_ffn.1.bias": (1,)}
    torch.manual_seed(classes)
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(("classes", "pool", "reduction"), [(20, "max", 8), (80, "avg", 4), (90, "avg", 4)])
def test_a_released_checkpoint_loads_strictly(classes, pool, reduction):
    model = build_generator("weaktr", classes, SMALL, fusion_pool=pool, fusion_reduction=reduction)
    tensors = public_checkpoint(classes)
    model.load_state_dict(tensors, strict=True)
    assert torch.equal(model.state_dict()["head.weight"], tensors["head.weight"])


def test_ninety_coco_columns_become_eighty():
    model = build_generator("weaktr", 80, SMALL, fusion_pool="avg", fusion_reduction=4)
    tensors = public_checkpoint(90)
    model.load_state_dict(model.converted(tensors), strict=True)
    state = model.state_dict()
    for column, id_ in ((0, 1), (10, 11), (11, 13), (79, 90)):  # person, fire hydrant, stop sign, toothbrush
        assert torch.equal(state["head.weight"][column], tensors["head.weight"][id_ - 1])
        assert torch.equal(state["cls_token"][0, column], tensors["cls_token"][0, id_ - 1])
        assert torch.equal(state["pos_embed"][0, column], tensors["pos_embed"][0, id_ - 1])
    assert torch.equal(state["pos_embed"][0, 80:], tensors["pos_embed"][0, 90:])
    assert len(UNUSED_COCO_IDS) == 10


def test_deit_weights_give_every_class_the_one_token():
    vit = timm.create_model(TINY, num_classes=7)
    model = build_generator("weaktr", 4, TINY)
    model.load_state_dict(model.converted(vit.state_dict()), strict=False)
    for k in range(4):
        assert torch.equal(model.cls_token[0, k], vit.cls_token[0, 0])
        assert torch.equal(model.pos_embed[0, k], vit.pos_embed[0, 0])
    assert torch.equal(model.pos_embed[0, 4:], vit.pos_embed[0, 1:])
    assert torch.equal(model.blocks[3].mlp.fc1.weight, vit.blocks[3].mlp.fc1.weight)


@torch.no_grad()
def test_a_batch_of_any_size_equals_its_images_one_by_one(generator):
    images = torch.rand(2, 3, 40, 56, dtype=torch.float64)  # not whole patches
    together, alone = generator(images).cams, torch.cat([generator(image[None]).cams for image in images])
    assert together.shape == (2, 3, 3, 4)
    assert torch.allclose(together, alone)


def names_with_gradient(model: WeakTr) -> set[str]:
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_a_frozen_backbone_leaves_head_and_fusion_to_learn(generator):
    generator.freeze_backbone()
    generator(torch.rand(2, 3, 48, 48, dtype=torch.float64)).cams.sum().backward()
    found = names_with_gradient(generator)
    assert {name.split(".")[0] for name in found} == {"head", "adaptive_attention_fusion"}


def test_each_logit_trains_what_weaktr_trains_by_it(generator):
    expected = (
        {"cls_token", "pos_embed", "patch_embed", "blocks"},
        {"cls_token", "pos_embed", "patch_embed", "blocks", "head"},
        {"adaptive_attention_fusion"},
    )
    for place, parts in enumerate(expected):
        generator.zero_grad()
        generator(torch.rand(1, 3, 48, 48, dtype=torch.float64)).logits[place].sum().backward()
        assert {name.split(".")[0] for name in names_with_gradient(generator)} == parts


def test_drop_path_is_for_training_only(generator):
    image = torch.rand(1, 3, 48, 48, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(generator(image).cams, generator(image).cams)
        generator.train()
        assert len({generator(image).cams.sum().item() for _ in range(5)}) > 1
