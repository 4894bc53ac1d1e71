-- Questions on whose texts verifier and judge disagree most (Spearman's rank correlation).
-- Only questions with three or more texts that both scored, and with differences to rank.
with scored_twice as (

    select
        verifier.question_id,
        verifier.value as verifier,
        judge.value as judge

    from scores as verifier

    inner join scores as judge
        on verifier.question_id = judge.question_id
        and verifier.candidate_index = judge.candidate_index

    where
        verifier.scorer = 'verifier'
        and judge.scorer = 'judge'
        and verifier.value is not null
        and judge.value is not null

),

ranked as (

    select
        question_id,
        -- tied values share the mean of their ranks
        rank() over (partition by question_id order by verifier)
        + (count(*) over (partition by question_id, verifier) - 1) / 2 as verifier_rank,
        rank() over (partition by question_id order by judge)
        + (count(*) over (partition by question_id, judge) - 1) / 2 as judge_rank

    from scored_twice

),

agreement as (

    select
        question_id,
        count(*) as texts_n,
        corr(verifier_rank, judge_rank) as rank_corr

    from ranked

    group by question_id

)

select
    question_id,
    texts_n,
    round(rank_corr, 3) as rank_corr

from agreement

where texts_n >= 3 and isfinite(rank_corr)

order by rank_corr, question_id
