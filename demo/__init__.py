"""The small model that ships: its pictures, its training recipe, its weights, its evaluation."""
