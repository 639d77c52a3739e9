"""One new component for each extension point: test_extension_points.py drops them into a copy of the tree."""
