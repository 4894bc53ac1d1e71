"""What each policy says of the test questions."""

import pandera.pandas as pa

from schemas.base import Table

NO_TRAINING = -1  # the training seed of a student's text
POLICIES = ["student", "sft", "dpo", "ilearner"]


class Explanations(Table):
    """Grain: one row per (policy, training, question, decoding, explanation, round).

    One file per policy, written by explain_test and its siblings; repeat_training writes those
    of the other training seeds in one more file. Only rows with `is_final` are evaluated;
    the other rounds of ilearner are kept to be read. A student's text has decoding
    "none" and one `explanation_index` per student.
    """

    policy: str = pa.Field(isin=POLICIES)
    training_seed: int  # of SFT, sampling and DPO; -1 for a student's text
    question_id: str
    cluster_id: str
    decoding: str = pa.Field(isin=["sampled", "greedy", "none"])
    explanation_index: int = pa.Field(ge=0)
    round_index: int = pa.Field(ge=0)  # 0-based round of ilearner, else 0
    is_final: bool
    explanation: str
    tokens_n: int = pa.Field(ge=0)
    is_stopped: bool  # ended with EOS within the token limit
    verifier_rating: float = pa.Field(nullable=True)  # stars; only ilearner asks for it

    class Config:
        name = "explanations"
        unique = [
            "policy",
            "training_seed",
            "question_id",
            "decoding",
            "explanation_index",
            "round_index",
        ]
