"""Conditions of an evaluation: which regions zoom in, under which base token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from server.api.roi_options import MAX_REGIONS
from server.eval.benchmarks import Question

KINDS = {
    "base": "the base view alone",
    "rpn": "with the crops of the RPN's regions, always",
    "gate": "with those crops where the RPN's gate asks for zoom",
    "oracle": "with crops of the true boxes, if the file has them",
}


@dataclass(frozen=True)
class Condition:
    """`kind` is a key of KINDS; `base_tokens` None takes what the RPN is served with."""

    kind: str
    base_tokens: int | None = None

    @property
    def name(self) -> str:
        """As it is written in results."""
        return self.kind if self.base_tokens is None else f"{self.kind}@{self.base_tokens}"

    def can_ask(self, question: Question) -> bool:
        """Whether the question has what the condition needs."""
        return self.kind != "oracle" or bool(question.boxes)

    def roi(self, question: Question) -> dict[str, Any]:
        """The request's `roi` field."""
        roi: dict[str, Any] = {"enabled": self.kind != "base"}
        if self.base_tokens is not None:
            roi["base_tokens"] = self.base_tokens
        if self.kind in ("rpn", "gate"):
            roi["gate"] = self.kind == "gate"
        if self.kind == "oracle":
            roi["boxes"] = [list(box) for box in question.boxes[:MAX_REGIONS]]
        return roi


def conditions(kinds: Sequence[str], budgets: Sequence[int]) -> list[Condition]:
    """Every kind under every budget; the served budget where none is named."""
    return [Condition(kind, tokens) for tokens in (budgets or (None,)) for kind in kinds]
