"""What git and DVC know of another state of the project."""
