"""The pages of a study, and of several studies ranked together."""
