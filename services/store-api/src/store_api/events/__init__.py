"""What the store tells the others after a commit."""
