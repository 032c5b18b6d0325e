"""SAM and SAM 2 of transformers, from configurations small enough for a forward pass in milliseconds."""

from functools import cache

import torch
from torch import nn

SIDE = 64  # pixels of the input


@cache
def tiny_sam(kind: str) -> nn.Module:
    """Return a random SamModel (`sam`) or Sam2Model (`sam2`)."""
    import transformers

    torch.manual_seed(0)
    prompts = {"image_size": SIDE, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"mlp_dim": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "iou_head_hidden_dim": 16}
    if kind == "sam":
        vision = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIDE}
        vision |= {"output_channels": 16, "global_attn_indexes": [1], "window_size": 2, "mlp_dim": 32}
        config = transformers.SamConfig(
            vision_config=vision | {"num_pos_feats": 8},
            prompt_encoder_config=prompts | {"hidden_size": 16},
            mask_decoder_config=decoder | {"hidden_size": 16},
        )
        return _spread(transformers.SamModel(config))
    backbone = {"model_type": "sam2_hiera_det_model", "hidden_size": 8, "embed_dim_per_stage": [8, 16, 32, 64]}
    backbone |= {"num_attention_heads_per_stage": [1, 1, 2, 2], "blocks_per_stage": [1, 1, 2, 1]}
    backbone |= {"window_size_per_stage": [8, 4, 4, 2], "global_attention_blocks": [3], "image_size": [SIDE, SIDE]}
    vision = {"backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    backbone |= {"window_positional_embedding_background_size": [2, 2]}
    config = transformers.Sam2Config(
        vision_config=vision | {"backbone_config": backbone, "fpn_hidden_size": 32},
        prompt_encoder_config=prompts | {"hidden_size": 32},
        mask_decoder_config=decoder | {"hidden_size": 32},
    )
    return _spread(transformers.Sam2Model(config))


@torch.no_grad()
def _spread(network: nn.Module) -> nn.Module:
    """Draw the weights wide, so that masks differ from prompt to prompt and from pixel to pixel."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=0.5 / parameter.shape[-1] ** 0.5)
    return network.eval()
