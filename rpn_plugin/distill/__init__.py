"""How an RPN is trained: pseudo-labels from attention, and the loss on them."""
