"""People made here: bodies, gaits, pixels, detector noise and the frozen worlds. No file is
opened.
"""
