"""The report: a grid of runs as one self-contained HTML page."""
