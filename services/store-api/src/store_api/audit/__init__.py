"""The audit log: who changed what, for administrators to read."""
