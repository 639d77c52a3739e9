"""The kit that every page is drawn with: charts, sections, tables, words and the template."""
