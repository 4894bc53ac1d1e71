-- The twenty DPO explanations with the lowest mean percentile over the held-out metrics, to be read.
with ranked as (

    select
        question_id,
        decoding,
        explanation_index,
        percent_rank() over (partition by decoding, metric order by value) as percentile

    from evaluations

    where policy = 'dpo' and role = 'heldout' and value is not null

),

ordered as (

    select
        question_id,
        decoding,
        explanation_index,
        avg(percentile) as percentile_mean,
        count(*) as metrics_n

    from ranked

    group by all

),

stems as (

    select distinct on (question_id)
        question_id,
        stem,
        key

    from questions

    order by question_id, row_id

)

select
    round(ordered.percentile_mean, 3) as percentile_mean,
    ordered.metrics_n,
    ordered.decoding,
    ordered.question_id,
    stems.key,
    stems.stem,
    explanations_dpo.explanation

from ordered

inner join explanations_dpo
    on ordered.question_id = explanations_dpo.question_id
    and ordered.decoding = explanations_dpo.decoding
    and ordered.explanation_index = explanations_dpo.explanation_index
    and explanations_dpo.is_final

left join stems
    on ordered.question_id = stems.question_id

order by ordered.percentile_mean, ordered.decoding, ordered.question_id, ordered.explanation_index

limit 20
