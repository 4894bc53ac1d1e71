-- drops: why a candidate or negative is in no pair.
-- Grain: one row per (question_id, candidate_index); with `preferences`, every row of `texts`.
-- The first reason that holds is given. `texts` is as in preferences.sql; `picked` are the
-- pairs before the draw, `preferences` those after it.

with usable as (

    select * from texts
    where reward is not null and text_key <> ''

),

paired as (

    select question_id, chosen_index as candidate_index from preferences
    union
    select question_id, rejected_index from preferences

),

undrawn as (

    select question_id, chosen_index as candidate_index from picked
    union
    select question_id, rejected_index from picked

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
        partition by question_id order by is_refused, reward desc, candidate_index
    ) = 1

),

-- a candidate's partners are the question's other candidates; a negative's is the best one
partners as (

    select
        own.question_id,
        own.candidate_index,
        false as is_negative,
        own.reward,
        partner.reward as other_reward,
        own.text_key = partner.text_key as is_same,
        case when own.reward > partner.reward then own.is_refused else partner.is_refused end
            as is_refused,
        greatest(own.words_n, partner.words_n)
        <= $max_words_ratio * least(own.words_n, partner.words_n) + 1e-9 as is_as_long

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
        true,
        own.reward,
        best.reward,
        own.text_key = best.text_key,
        best.is_refused,
        greatest(own.words_n, best.words_n)
        <= $max_words_ratio * least(own.words_n, best.words_n) + 1e-9

    from usable as own

    inner join best
        on own.question_id = best.question_id
        and own.origin = 'negative'

),

compared as (

    select
        *,
        is_same or (reward = other_reward and not is_negative) as is_tie,
        is_negative and reward >= other_reward as is_not_worse,
        not is_same
        and (case when is_negative then other_reward - reward else abs(other_reward - reward) end)
        >= $min_gap - 1e-9 as is_far

    from partners

),

outcomes as (

    select
        question_id,
        candidate_index,
        bool_and(is_tie) as all_tie,
        bool_or(is_not_worse) as is_not_worse,
        bool_or(is_far and not is_tie) as any_far,
        bool_or(
            is_far and not is_tie and (is_as_long or $strategy <> 'length_matched')
        ) as any_matched,
        bool_or(
            is_far and not is_tie and (is_as_long or $strategy <> 'length_matched')
            and not is_refused
        ) as any_allowed

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
        when not outcomes.any_matched then 'length_unmatched'
        when not outcomes.any_allowed then 'degenerate'
        when twins.text_key is not null then 'duplicate_text'
        when undrawn.question_id is not null then 'not_drawn'
        else 'over_limit'
    end as reason

from texts

anti join paired
    on texts.question_id = paired.question_id
    and texts.candidate_index = paired.candidate_index

left join undrawn
    on texts.question_id = undrawn.question_id
    and texts.candidate_index = undrawn.candidate_index

left join outcomes
    on texts.question_id = outcomes.question_id
    and texts.candidate_index = outcomes.candidate_index

left join twins
    on texts.question_id = twins.question_id
    and texts.text_key = twins.text_key

order by texts.question_id, texts.candidate_index
