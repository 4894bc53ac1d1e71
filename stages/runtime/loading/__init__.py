"""What every stage with a model needs: profile, threads, weights and their digests."""
