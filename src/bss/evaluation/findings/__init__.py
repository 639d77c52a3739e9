"""What a grid of runs says, in plain words: findings, and remarks on how far they can be trusted."""
