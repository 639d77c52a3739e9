"""Multimodal data sets: one file a data set, packed into one memory-mapped array a modality."""
