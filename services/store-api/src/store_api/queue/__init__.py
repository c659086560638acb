"""The outbound queue: deliveries, claims, outcomes, bounces."""
