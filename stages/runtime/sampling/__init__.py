"""Answers of the policies: in this process, by continuous batching on a GPU, or from a server."""
