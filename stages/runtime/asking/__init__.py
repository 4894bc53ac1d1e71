"""Questions to a large language model of somebody else: what they cost, and every answer kept."""
