-- Mean of every scorer on sampled texts, student texts and each kind of negative and synthetic text.
with texts as (

    select
        question_id,
        candidate_index,
        origin

    from candidates

    union all

    select
        question_id,
        candidate_index,
        kind as origin

    from negatives

    union all

    select
        question_id,
        candidate_index,
        kind as origin

    from synthetic

)

select
    scores.scorer,
    scores.role,
    texts.origin,
    count(*) as texts_n,
    count(*) - count(scores.value) as null_n,
    round(avg(scores.value), 3) as mean,
    round(stddev_samp(scores.value), 3) as standard_deviation

from scores

inner join texts
    on scores.question_id = texts.question_id
    and scores.candidate_index = texts.candidate_index

group by scores.scorer, scores.role, texts.origin

order by scores.role desc, scores.scorer, texts.origin
