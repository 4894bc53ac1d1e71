"""What a model of somebody else is asked for, and what is made of its answers."""
