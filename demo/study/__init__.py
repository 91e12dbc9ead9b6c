"""Studies of distillation on the shipped model; run with `python -m demo.distill_study`."""
