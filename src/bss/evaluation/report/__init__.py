"""The sections of the report, one a file: a function `section`, and its PLACE on the page."""
