"""Schema of the database (Alembic)."""
