"""One run at a time in a workspace, and nothing lost when it is killed."""
