"""Modality encoders, one a file, and the model that joins them."""
