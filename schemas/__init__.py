"""The dictionary of the project: one word per concept, one schema per table.

Glossary
    question    the distinct (stem, options, key) of a multiple-choice question
    row         one student's row in an export: a question, an explanation and its rating
    stem        the text of the question without its options
    key         the letter of the right option; `distractor` is any other option
    cluster     near-identical questions; the unit of splits and of all statistics
    rating      what students gave, in stars (0..5)
    candidate   an explanation of a train question: a sample of ours, or a student's
    negative    an explanation of ours that is wrong on purpose
    synthetic   an explanation or a question that a large language model was asked for; explanations
                are good ones, or flawed on purpose
    malgorithm  a coherent wrong rationale that leads to one distractor
    score       what a scorer says of a candidate or negative
    reward      the mean of the scores with role `reward`, less what it gives to length
                (build_preferences.length_control); it alone selects pairs
    fitness     what a verifier is worth on rows that it did not learn from; the gate's matter
    pair        a chosen and a rejected explanation of one question
    policy      who writes: student, sft, dpo, ilearner, api (a model of somebody else)
    provider    who is asked for texts over a network, or `none`
    ledger      every call to a provider: what it may cost, then what it did
"""
