"""One run of the DVC graph: what is stale, its stages as Prefect tasks, and what they print."""
