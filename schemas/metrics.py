"""Numbers that a stage reports. They are an artifact too, and have a schema."""

import pandera.pandas as pa

# n counts, frac is 0..1, stars are PeerWise stars, corr is -1..1, stars2 is a mean square,
# usd are dollars, score is a model's own unit named in the stage. nats are per token for the loss
# of a language model (base, SFT), per pair for DPO's loss and reward margin, and per text for
# logps_*.
METRIC_NAME = r"^[a-z][a-z0-9_]*_(n|frac|stars|stars2|corr|tokens|words|nats|seconds|score|usd)$"


class Metrics(pa.DataFrameModel):
    """A metric's name ends in its unit, so a bare number in a table still means something."""

    name: str = pa.Field(unique=True, str_matches=METRIC_NAME)
    value: float = pa.Field()  # not nullable: "no pairs" must fail, not read as nan

    class Config:
        strict = True
