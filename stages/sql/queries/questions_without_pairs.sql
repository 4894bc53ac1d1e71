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

),

asked as (

    select * from stems

    union all

    select
        made.question_id,
        stems.course,
        made.stem

    from synthetic_questions as made

    inner join stems
        on made.source_question_id = stems.question_id

    where made.reason is null

)

select
    dropped.question_id,
    asked.course,
    dropped.texts_n,
    dropped.reasons,
    asked.stem

from dropped

left join asked
    on dropped.question_id = asked.question_id

order by dropped.reasons, dropped.question_id
