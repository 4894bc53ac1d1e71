"""The page of the report: its sections, tables and figures, from what the stages left."""
