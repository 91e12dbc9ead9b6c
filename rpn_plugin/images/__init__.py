"""Pictures for the model: decoding, scaling to token budgets, crops.

Needs Pillow and families only.
"""
