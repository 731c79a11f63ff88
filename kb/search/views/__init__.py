"""The pages for asking, for stored answers and for searching."""
