"""Documents, their revisions, and the chunks made of them."""
