"""What differs between model families, declared; everything else in rpn_plugin is shared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal


@dataclass(frozen=True)
class RpnLayers:
    """How an RPN's layers are built: like the decoder layers of the family's language model."""

    attention_bias: bool
    """Whether q, k and v projections have a bias."""

    rope: Literal["mrope", "interleaved_mrope", "sequence"]
    """Rotary positions. `mrope`: frequencies in three blocks, one for each axis (t, h, w).
    `interleaved_mrope`: axes take turns, frequency by frequency. `sequence`: one axis, the token's
    place in the prompt.
    """

    query_key_norm: bool = False
    """Whether each head's queries and keys pass an RMS norm before they are rotated."""

    score_rope: bool = True
    """Whether the queries and keys of the scoring layer are rotated too."""

    score_norm: bool = False
    """Whether one more RMS norm (`twig_norm` in released checkpoints) stands before the scoring
    layer's own.
    """


@dataclass(frozen=True)
class ImageGrid:
    """How a picture becomes a grid of visual tokens."""

    cell: int
    """Pixels of the view on a side of one visual token."""

    square: int | None = None
    """Tokens on a side, where every picture is shown on a square of one size (that of the models
    people know; `of` says it for any); None: a picture keeps its shape, and the rope positions of
    its tokens tell rows and columns.
    """

    fill: tuple[int, int, int] = (0, 0, 0)
    """The colour beside a picture that does not fill its square."""

    least_cells: int = 1
    """The model's image processor enlarges anything of fewer cells; views never are."""

    max_aspect: int = 200
    """The image processor refuses a picture longer than this many times its width."""

    def of(self, hf_config: Mapping[str, Any]) -> ImageGrid:
        """The grid of the model with this `config.json`, whose vision tower says how large squares
        are. Where there is a second, finer tower, cells have pixels enough for that one too.
        """
        vision = hf_config.get("vision_config") or {}
        if self.square is None or not {"image_size", "patch_size"} <= vision.keys():
            return self
        square = int(vision["image_size"]) // int(vision["patch_size"])
        finer = (hf_config.get("high_res_vision_config") or {}).get("image_size", 0)
        side = max(int(vision["image_size"]), int(finer))
        return replace(self, cell=math.ceil(side / square), square=square)

    def shape(self, spanned: tuple[int, int], tokens: int) -> tuple[int, int]:
        """Rows and columns of a picture of `tokens` tokens, whose rope positions span that many of
        each.
        """
        if self.square is None:
            return spanned
        side = math.isqrt(tokens)
        return side, side


@dataclass(frozen=True)
class ComponentRules:
    """Which connected components of cells become boxes, by how many cells they have."""

    noise: int
    """Components of up to this many cells are dropped."""
    small: int
    """Components of up to this many cells are grown to about 3 x 3."""
    largest: int
    """Components of more cells than this are dropped."""


@dataclass(frozen=True)
class PeakRules:
    """A threshold relative to the peak of the blurred map."""

    share: float = 0.3
    """Cells above this share of the peak belong to a region."""
    least: float = 0.03
    """A map with a lower peak has no region."""
    least_contrast: float = 3.0
    """A map whose peak is lower than this many times its mean has no region."""


@dataclass(frozen=True)
class BoxRules:
    """From a RoI map to boxes; `regions/boxes.py` applies them."""

    threshold: float
    """The released evaluation's default threshold."""

    peak: PeakRules | None = None
    """The threshold relative to the peak that replaces `threshold`, unless a request has one."""

    grid_blur: bool = False
    """Whether the blur becomes wider with the number of cells; False: 3 x 3 cells, sigma 1."""

    sink_grid: int | None = None
    """Grids of more cells collect attention sinks: a quarter of the left column and of the top row
    is zeroed.
    """

    least_sink: int = 0
    """The least number of cells of each of the two edges that is zeroed."""

    components: ComponentRules | None = None
    """None: every component counts."""

    join: int = 0
    """Where several regions are asked for, components up to this many cells apart are one: a crop
    each would show the same place twice.
    """

    least_side: int = 1
    """Boxes with a side of fewer pixels of the original picture are dropped or grown."""

    grow: bool = False
    """Whether such boxes are grown about their centre and slid into the picture, not dropped."""

    max_aspect: float = float("inf")
    """Boxes longer than this many times their width are dropped."""


@dataclass(frozen=True)
class Family:
    """One line of vision-language models that an RPN can be attached to.

    Names of vLLM classes are strings, so that a family can be read without importing vLLM.
    """

    name: str
    """The family's key, as stored in an RPN's configuration."""

    hf_architecture: str
    """The entry in `architectures` of the model's Hugging Face configuration."""

    model_type: str
    """`model_type` of that configuration."""

    engine_architecture: str
    """The name our tapped model class is registered under in vLLM."""

    engine_class: str
    """`module:class` of that class, which derives from vLLM's own for the architecture."""

    layers: RpnLayers
    image: ImageGrid
    boxes: BoxRules

    published_architecture: str | None = None
    """`architectures` of released SD-RPN checkpoints, where they are not in Hugging Face's layout
    of the model.
    """

    published_model_type: str | None = None
    """`model_type` of those."""

    language_defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the language model's configuration may leave out, because it is the default of its
    class.
    """

    @property
    def architectures(self) -> tuple[str, ...]:
        """Every name its models go by: Hugging Face's, the released checkpoints', and ours."""
        names = (self.hf_architecture, self.published_architecture, self.engine_architecture)
        return tuple(name for name in names if name)

    @property
    def model_types(self) -> tuple[str, ...]:
        """Every `model_type` its configurations have."""
        return tuple(name for name in (self.model_type, self.published_model_type) if name)
