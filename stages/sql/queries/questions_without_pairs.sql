-- Sampled questions that gave no pair, with the reasons of their candidates.
with dropped as (

    select
        question_id,
        count(*) as texts_n,
        string_agg(distinct reason, ', ' order by reason) as reasons

    from drops

    where question_id not in (select question_id from preferences)

    group by question_id

),

stems as (

    select distinct on (question_id)
        question_id,
        course,
        stem

    from questions

    order by question_id, row_id

)

select
    dropped.question_id,
    stems.course,
    dropped.texts_n,
    dropped.reasons,
    stems.stem

from dropped

left join stems
    on dropped.question_id = stems.question_id

order by dropped.reasons, dropped.question_id
