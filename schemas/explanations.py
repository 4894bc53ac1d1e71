"""What each policy says of the test questions."""

import pandera.pandas as pa

from schemas.base import Table

NO_TRAINING = -1  # the training seed of a text that no training here made: a student's, an API's
API = "api"  # a model of somebody else; its table is empty unless one is named
POLICIES = ["student", "sft", "dpo", "ilearner", API]


class Explanations(Table):
    """Grain: one row per (policy, training, question, decoding, explanation, round).

    One file per policy, written by explain_test and its siblings; repeat_training writes those
    of the other training seeds in one more file. Only rows with `is_final` are evaluated;
    the other rounds of ilearner are kept to be read. A student's text has decoding
    "none" and one `explanation_index` per student. An API's has decoding "sampled" and stands
    beside the others that do: it gives one answer per question and decodes in its own way. A
    question that it did not answer has no row.
    """

    policy: str = pa.Field(isin=POLICIES)
    training_seed: int  # of SFT, sampling and DPO; -1 for a student's text and an API's
    question_id: str
    cluster_id: str
    decoding: str = pa.Field(isin=["sampled", "greedy", "none"])
    explanation_index: int = pa.Field(ge=0)
    round_index: int = pa.Field(ge=0)  # 0-based round of ilearner, else 0
    is_final: bool
    explanation: str
    tokens_n: int = pa.Field(ge=0)  # of an API as billed, thinking and further tries included
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
