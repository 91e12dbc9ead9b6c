"""Training data: file formats, samples, batches, and results kept in shards."""
