"""One module a migration, oldest first; never changed once released."""
