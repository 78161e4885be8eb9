"""People made on this machine: hands and bodies, how they move, their pictures, what a detector
makes of them, and frozen worlds of clips.

Nothing here opens a file of the user's, but for the motion capture of `mocap`.
"""
