"""Arguments in, values out: no file but packaged SQL, no weights, no clock, no network."""
