"""What all replicas of smtp-in know together about who sends: greylisting, and how much was sent lately."""
