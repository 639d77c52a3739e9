"""The model that is handed on, and its predictions on new data."""
