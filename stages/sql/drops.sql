-- drops: why a candidate or negative is in no pair.
-- Grain: one row per (question_id, candidate_index); with `preferences`, every row of `texts`.
-- The first reason that holds is given; `texts` is as in preferences.sql.

with usable as (

    select * from texts
    where reward is not null and text_key <> ''

),

paired as (

    select question_id, chosen_index as candidate_index from preferences
    union
    select question_id, rejected_index from preferences

),

-- texts that stand in a pair: their copies are in none
twins as (

    select distinct texts.question_id, texts.text_key
    from texts
    inner join paired
        on texts.question_id = paired.question_id
        and texts.candidate_index = paired.candidate_index

),

best as (

    select * from usable
    where origin <> 'negative'
    qualify row_number() over (
        partition by question_id order by reward desc, candidate_index
    ) = 1

),

-- a candidate's partners are the question's other candidates; a negative's is the best one
compared as (

    select
        own.question_id,
        own.candidate_index,
        partner.text_key = own.text_key or partner.reward = own.reward as is_tie,
        abs(partner.reward - own.reward) >= $min_score_gap - 1e-9 as is_far,
        false as is_not_worse

    from usable as own

    inner join usable as partner
        on own.question_id = partner.question_id
        and own.origin <> 'negative'
        and partner.origin <> 'negative'
        and own.candidate_index <> partner.candidate_index

    union all

    select
        own.question_id,
        own.candidate_index,
        best.text_key = own.text_key as is_tie,
        best.reward > own.reward
        and best.reward - own.reward >= $min_score_gap - 1e-9 as is_far,
        best.reward <= own.reward as is_not_worse

    from usable as own

    inner join best
        on own.question_id = best.question_id
        and own.origin = 'negative'

),

outcomes as (

    select
        question_id,
        candidate_index,
        bool_and(is_tie) as all_tie,
        bool_or(is_far and not is_tie) as any_far,
        bool_or(is_not_worse) as is_not_worse

    from compared
    group by question_id, candidate_index

)

select
    texts.question_id,
    texts.candidate_index,
    texts.origin,
    case
        when texts.text_key = '' then 'empty_text'
        when texts.reward is null then 'unscored'
        when outcomes.question_id is null then 'only_candidate'
        when outcomes.all_tie then 'tie'
        when outcomes.is_not_worse then 'not_worse'
        when not outcomes.any_far then 'below_gap'
        when twins.text_key is not null then 'duplicate_text'
        else 'over_limit'
    end as reason

from texts

anti join paired
    on texts.question_id = paired.question_id
    and texts.candidate_index = paired.candidate_index

left join outcomes
    on texts.question_id = outcomes.question_id
    and texts.candidate_index = outcomes.candidate_index

left join twins
    on texts.question_id = twins.question_id
    and texts.text_key = twins.text_key

order by texts.question_id, texts.candidate_index
