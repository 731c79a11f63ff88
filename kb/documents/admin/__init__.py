"""The admin of documents."""
