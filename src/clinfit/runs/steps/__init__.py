"""What a study asks to be done, who does it, and how it is kept."""
