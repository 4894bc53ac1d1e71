"""Scorers, one file per family: a table of texts in, a Value per text out.

A family is one model, or one rule, with everything that repeats its signal. `SCORERS` of a
file maps the name of a scorer to its function, `MODELS` names the folders that it reads.
The table has the columns of stages/pure/scored/scoring.py: texts_to_score. A text that cannot be
scored has None and a reason, never 0. Roles are given in params.yaml (score_candidates).
"""
