"""Data sets: what they are and where they lie (manifest), and readers that turn files into
records.
"""
