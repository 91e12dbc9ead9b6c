"""From content parts to decoded pictures: where they come from, and the pool that decodes them."""
