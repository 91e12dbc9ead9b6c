"""The attention that ViCrop reads, against Hugging Face's of the same layer."""

from __future__ import annotations

import torch
from transformers import AutoModelForImageTextToText

from loadtests.compare.baselines.layer_attention import LayerAttention
from rpn_plugin.network.checkpoint import load_rpn_config
from server.shipped_model import SHIPPED_MODEL


@torch.inference_mode()
def test_it_is_the_layers_own_attention() -> None:
    whole = AutoModelForImageTextToText.from_pretrained(
        SHIPPED_MODEL, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    language = whole.model.language_model
    torch.manual_seed(0)
    ids = torch.randint(0, 256, (1, 40))
    positions = torch.arange(40).expand(3, 1, -1).clone()
    positions[1, 0, 10:30], positions[2, 0, 10:30] = 7, 9  # as if these were of a picture
    output = language(
        input_ids=ids, position_ids=positions, output_attentions=True, output_hidden_states=True
    )
    config = load_rpn_config(SHIPPED_MODEL / "rpn")
    attention = LayerAttention(config)
    attention.load(str(SHIPPED_MODEL))
    found = attention(output.hidden_states[config.tap_layer][0], positions[:, 0])
    truth = output.attentions[config.tap_layer][0, :, -1].mean(0)
    torch.testing.assert_close(found, truth, atol=1e-5, rtol=1e-4)
