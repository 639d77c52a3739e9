"""The grid over several machines: a Prefect work pool and a remote that they share."""
