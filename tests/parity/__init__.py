"""Compares what the workbench computes with what the public implementations computed for the
same input and weights.
"""
