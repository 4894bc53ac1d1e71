"""What scorers read of a text, and how what they say becomes scores."""
