"""The database: engine, transactions, identifiers."""
