"""The section of params.yaml that a table seems to ask for."""
