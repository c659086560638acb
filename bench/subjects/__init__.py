"""What `bench/store.py` measures: a module for each subject, each with `async def measure(stack) -> list[Figure]`."""
