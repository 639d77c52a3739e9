"""Prefect flows: they run the DVC graph of a workspace and decide nothing that DVC decides."""
