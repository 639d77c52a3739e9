"""Balance criteria: one pure function of the evidence a file."""
