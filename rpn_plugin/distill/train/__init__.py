"""Training of an RPN on labels: the loss, the loop, the sweep, the evaluation."""
