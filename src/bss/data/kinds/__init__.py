"""Modality kinds: how one raw value becomes one array of a fixed shape."""
