"""From raw files to packed arrays."""
