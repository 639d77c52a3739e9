"""Training: one loop, and one file a training method."""
