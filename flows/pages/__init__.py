"""Prefect's pages for this workspace: its server, its deployments and the worker that runs them."""
