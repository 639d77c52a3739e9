"""Which pairs are labelled next: one acquisition a file."""
