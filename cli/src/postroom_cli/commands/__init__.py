"""The commands that work through the REST API, a module for each subject."""
