"""What the tap and the RPN cost in memory: prints the table in docs/operations.md.

The shapes are those of the models' public `config.json`; everything is bf16. The formulas stand in
the code: nothing here is measured.
"""

from __future__ import annotations

from dataclasses import dataclass

_BYTES = 2
_POSITION_BYTES = 16
"""Rope positions beside each tapped state (rpn_plugin/engine/tap_rows.py)."""

DEPTH = 3
"""R, the RPN's layers: two whole ones and one that only scores, as released."""

SLICE_TOKENS = 8192
"""The most tokens an RPN slice holds: vLLM's --max-num-batched-tokens."""

MLP_TOKENS = 2048
"""The MLP runs on so many tokens at a time (rpn_plugin/network/layers.py)."""

PREFIX_CACHE_MIB = 256
"""The RPN's prefix cache (rpn_plugin/engine_args.py)."""


@dataclass(frozen=True)
class Shape:
    """A model's language half."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    bias: bool

    @property
    def head_dim(self) -> int:
        """Elements of one head."""
        return self.hidden // self.heads

    @property
    def kv_bytes(self) -> int:
        """Keys and values of one token, in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * _BYTES

    @property
    def tap_bytes(self) -> int:
        """The tapped state of one token, and its positions."""
        return self.hidden * _BYTES + _POSITION_BYTES

    @property
    def capacity_lost(self) -> float:
        """Share of the cache's tokens that the tap takes the room of."""
        return self.tap_bytes / (self.kv_bytes + self.tap_bytes)

    @property
    def rpn_parameters(self) -> int:
        """R - 1 whole layers, one scoring layer."""
        h, kv = self.hidden, self.kv_heads * self.head_dim
        query_key = h * h + h * kv + (h + kv if self.bias else 0) + h
        value_out = h * kv + (kv if self.bias else 0) + h * h
        mlp = 3 * h * self.intermediate + h
        return (DEPTH - 1) * (query_key + value_out + mlp) + query_key

    @property
    def cached_bytes(self) -> int:
        """The prefix cache of one token: keys and values of whole layers, keys of the scoring."""
        return (2 * (DEPTH - 1) + 1) * self.kv_heads * self.head_dim * _BYTES

    @property
    def working_bytes(self) -> int:
        """Estimated: what a full RPN slice needs at once: states, a float32 copy, and its MLP."""
        return 12 * SLICE_TOKENS * self.hidden + 6 * MLP_TOKENS * self.intermediate


MODELS = (
    Shape("Qwen2.5-VL-3B", 2048, 36, 16, 2, 11008, bias=True),
    Shape("Qwen2.5-VL-7B", 3584, 28, 28, 4, 18944, bias=True),
    Shape("LLaVA-1.5-13B", 5120, 40, 40, 40, 13824, bias=False),
)


def table() -> str:
    """The models' figures in Markdown."""
    lines = [
        "| model | KV cache, bytes/token | tap, bytes/token | cache capacity lost | RPN weights "
        "(R = 3) | RPN slice of 8,192 tokens | prefix cache of 256 MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for shape in MODELS:
        lines.append(
            f"| {shape.name} | {shape.kv_bytes:,} | {shape.tap_bytes:,} | "
            f"{shape.capacity_lost:.1%} | {shape.rpn_parameters * _BYTES / 2**30:.2f} GiB | "
            f"≈ {shape.working_bytes / 2**30:.1f} GiB | "
            f"{PREFIX_CACHE_MIB * 2**20 // shape.cached_bytes:,} tokens |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
