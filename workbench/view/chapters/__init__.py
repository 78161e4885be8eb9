"""What each method's explorers show: one room a method."""
