"""Embedding models, versioned vector indexes and the lexical postings."""
