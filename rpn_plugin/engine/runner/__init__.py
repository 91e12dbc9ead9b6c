"""The RPN on the device: a ragged batch a step, over paged keys and values."""
