"""Where the curves of a training are shown while it runs, a logger a file."""
