"""Balance-aware sequence sampling: balance scores, curricula and fair comparisons for multimodal training.

The arrow of data, of the folders and of the imports:
`data -> encoders -> measure -> curriculum -> training -> evaluation`.
"""
