"""What a site allows: who may connect and how often, what becomes of mail by its sender and its contents."""
