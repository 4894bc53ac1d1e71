-- preferences: texts of one question that the reward scorers find clearly apart.
-- Grain: one row per (question_id, chosen_index, rejected_index).
-- Reads `texts`: one row per candidate or negative, with its reward (null if unscored) and
-- text_key (equal for texts that differ in case and white space only).

with usable as (

    select * from texts
    where reward is not null and text_key <> ''

),

compared as (

    select
        better.question_id,
        better.candidate_index as chosen_index,
        worse.candidate_index as rejected_index,
        better.reward - worse.reward as score_gap

    from usable as better

    inner join usable as worse
        on better.question_id = worse.question_id
        and better.origin <> 'negative'
        and worse.origin <> 'negative'
        and better.text_key <> worse.text_key
        and better.reward > worse.reward
        -- 3.3 - 3.0 is a little less than 0.3 in binary; the threshold itself is inside
        and better.reward - worse.reward >= $min_score_gap - 1e-9

    -- the same two texts, sampled twice, are one pair
    qualify row_number() over (
        partition by better.question_id, better.text_key, worse.text_key
        order by score_gap desc, chosen_index, rejected_index
    ) = 1

),

widest as (

    select * from compared
    qualify row_number() over (
        partition by question_id
        -- the indices break ties, so the same input always gives the same pairs
        order by score_gap desc, chosen_index, rejected_index
    ) <= $pairs_per_question

),

best as (

    select * from usable
    where origin <> 'negative'
    qualify row_number() over (
        partition by question_id order by reward desc, candidate_index
    ) = 1

),

worse_negatives as (

    select
        best.question_id,
        best.candidate_index as chosen_index,
        usable.candidate_index as rejected_index,
        best.reward - usable.reward as score_gap,
        row_number() over (
            partition by best.question_id
            order by usable.negative_kind, usable.candidate_index
        ) - 1 as place,
        count(*) over (partition by best.question_id) as places_n

    from best

    inner join usable
        on best.question_id = usable.question_id
        and usable.origin = 'negative'
        and best.text_key <> usable.text_key
        and best.reward > usable.reward
        and best.reward - usable.reward >= $min_score_gap - 1e-9

),

rotated as (

    -- the widest gap would take the same kind in every question; the question decides instead
    select * exclude (place, places_n) from worse_negatives
    qualify row_number() over (
        partition by question_id
        order by (place + md5_number_lower(question_id) % places_n) % places_n
    ) <= $negatives_per_question

),

pairs as (

    select * from widest
    union all
    select * from rotated

)

select
    pairs.question_id,
    chosen.cluster_id,
    pairs.chosen_index,
    pairs.rejected_index,
    chosen.explanation as chosen,
    rejected.explanation as rejected,
    chosen.origin as chosen_origin,
    rejected.origin as rejected_origin,
    rejected.negative_kind,
    chosen.reward as chosen_score,
    rejected.reward as rejected_score,
    pairs.score_gap,
    cast(row_number() over (
        partition by pairs.question_id
        order by pairs.score_gap desc, pairs.chosen_index, pairs.rejected_index
    ) as bigint) as pair_rank

from pairs

inner join texts as chosen
    on pairs.question_id = chosen.question_id
    and pairs.chosen_index = chosen.candidate_index

inner join texts as rejected
    on pairs.question_id = rejected.question_id
    and pairs.rejected_index = rejected.candidate_index

order by pairs.question_id, pairs.chosen_index, pairs.rejected_index
