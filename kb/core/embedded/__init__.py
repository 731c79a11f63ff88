"""PostgreSQL and Valkey carried by packages, for a machine that has neither."""
