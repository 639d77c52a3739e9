"""What every page is drawn with: charts, tables, words and the template."""
