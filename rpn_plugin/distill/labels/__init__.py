"""Pseudo-labels from the model's own attention: which heads to read, and how maps become labels."""

from rpn_plugin.distill.labels.pseudo_labels import PseudoLabels, pseudo_labels

__all__ = ["PseudoLabels", "pseudo_labels"]
