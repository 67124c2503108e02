"""Importing conversations: a child process reads the file, slices of the writer store what it found."""
