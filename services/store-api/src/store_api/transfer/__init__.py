"""Moving whole systems: rows and octets out and in again, with their ids."""
