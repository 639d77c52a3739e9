"""One model on one split: its metrics and its rule of prediction."""
