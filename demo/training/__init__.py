"""The three stages of training: vision tower, language model, RPN."""
