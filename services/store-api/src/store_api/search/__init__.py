"""Searching, sorting and threading: the index, programs compiled to SQL, and what isn't indexed yet read directly."""
