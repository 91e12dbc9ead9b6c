"""Cases recorded from the reference implementation (SD-RPN, tiny random weights, float32)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from rpn_plugin.network.checkpoint import load_rpn_config
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.regions.boxes import blurred_map, regions_from_map

FOLDER = Path(__file__).parent / "data" / "golden"
QWEN = FOLDER / "qwen25vl_tiny"
LLAVA = FOLDER / "llava_tiny"
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One picture, one question, and what the reference made of them."""

    folder: Path
    family: str

    @property
    def checkpoint(self) -> Path:
        """The whole model, in the released format."""
        return self.folder.parent / "checkpoint"

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Sizes, thresholds and boxes."""
        values: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        return values

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Inputs, the states after layer K, the map."""
        return load_file(self.folder / "case.safetensors")

    @property
    def image(self) -> Image.Image:
        """What the model was shown (Qwen: after its resize) or given (LLaVA: before its own)."""
        (path,) = self.folder.glob("*.png")
        return Image.open(path).convert("RGB")

    @property
    def source_size(self) -> tuple[int, int]:
        """Width and height of the original picture."""
        width, height = self.meta.get("src_size_wh") or self.meta["src_wh"]
        return width, height

    @property
    def image_start(self) -> int:
        """Where the picture's tokens begin in the model's sequence."""
        start: int = self.meta["image_token_start"]
        return start

    def check_map(self, logits: NDArray[np.floating]) -> None:
        """The logits are the recorded ones, and so are the mask and the boxes made from them."""
        recorded = self.tensors["pred_roi"].numpy()
        np.testing.assert_allclose(logits, recorded, rtol=0, atol=TOLERANCE)
        blurred = blurred_map(logits, self.family)
        np.testing.assert_allclose(
            blurred, self.tensors["blur_out"].numpy(), rtol=0, atol=TOLERANCE
        )
        threshold = self.meta["conf_thresh"]
        if "mask" in self.tensors:
            assert np.array_equal(blurred > threshold, self.tensors["mask"].numpy() > 0.5)
        regions = regions_from_map(
            logits, self.source_size, threshold, self._max_regions, self.family
        )
        found = sorted((region.cells, region.box) for region in regions)
        assert found == sorted(self._recorded_boxes())

    @property
    def _max_regions(self) -> int:
        return 2 if self.meta.get("upscale_method") == "bbox" else 1

    def _recorded_boxes(self) -> list[tuple[Any, Any]]:
        if self.meta["roi"] == "none":
            return []
        cells = self.meta.get("bbox_cells_used") or [self.meta["bbox_cells_xyxy"]]
        boxes = self.meta["bbox_src_xyxy"]
        boxes = boxes if isinstance(boxes[0], list) else [boxes]
        return [(tuple(c), tuple(b)) for c, b in zip(cells, boxes, strict=True)]


QWEN_CASES = [Case(path, "qwen2_5_vl") for path in sorted(QWEN.glob("c*[0-9]"))]
LLAVA_CASES = [Case(path, "llava") for path in sorted(LLAVA.glob("l*[0-9]"))]


def add_gate(checkpoint: Path, **hf_config: object) -> None:
    """Gives a released checkpoint a random gate, in the layout of the released Q-Zoom models: none
    of those was recorded. `hf_config` is added to its configuration.
    """
    path = checkpoint / "config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "enable_high_res": True, **hf_config})
    )
    torch.manual_seed(1)
    gate = LearnedGate(load_rpn_config(checkpoint))
    theirs = {"layers": "model.high_res_layers", "head": "model.high_res_head"}
    tensors = load_file(checkpoint / "model.safetensors")
    for name, tensor in gate.state_dict().items():
        part, rest = name.split(".", 1)
        tensors[f"{theirs[part]}.{rest}"] = tensor
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
