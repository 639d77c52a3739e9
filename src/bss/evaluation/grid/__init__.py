"""One grid of runs: its artifacts gathered, what they say in numbers and words, and the page of it."""
