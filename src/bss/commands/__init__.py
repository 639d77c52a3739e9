"""The commands of the library, one a file. Nothing heavy is imported before a command runs."""
