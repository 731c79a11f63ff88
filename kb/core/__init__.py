"""The ground: accounts, collections, permissions, keys, audit, health, embedded services."""
