"""From scores to the order in which training data is seen."""
