"""What a model says of each training pair, and how balanced that makes the pair."""
