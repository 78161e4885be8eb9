"""What people look at: figures, live explorers and the pages of a run."""
