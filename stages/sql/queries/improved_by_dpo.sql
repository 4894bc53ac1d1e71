-- Test questions by how much DPO gained over SFT on each held-out metric, losses first.
with means as (

    select
        question_id,
        course,
        decoding,
        metric,
        avg(value) filter (policy = 'sft') as sft,
        avg(value) filter (policy = 'dpo') as dpo

    from evaluations

    where role = 'heldout' and policy in ('sft', 'dpo')

    group by all

)

select
    metric,
    decoding,
    course,
    question_id,
    round(sft, 3) as sft,
    round(dpo, 3) as dpo,
    round(dpo - sft, 3) as gain

from means

where sft is not null and dpo is not null

order by metric, decoding, dpo - sft, question_id
