"""One grid of runs: its artifacts in one object, their table and verdicts, and the report of them."""
