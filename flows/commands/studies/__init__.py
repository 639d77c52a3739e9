"""What compares many trainings, each in workspaces of their own, one command a file."""
