-- preferences: texts of one question that the reward finds clearly apart.
-- Grain: one row per (question_id, chosen_index, rejected_index); `draw_rank` orders all of
-- them by chance, so that a fixed number can be drawn.
-- Reads `texts`: one row per candidate or negative, with its reward (null if unscored),
-- text_key (equal for texts that differ in case and white space only), words_n, and is_refused
-- (may not be chosen).
-- $strategy: all_pairs, length_matched (widest first), best_worst, best_random.

with usable as (

    select * from texts
    where reward is not null and text_key <> ''

),

best as (

    select * from usable
    where origin <> 'negative' and not is_refused
    qualify row_number() over (
        partition by question_id order by reward desc, candidate_index
    ) = 1

),

compared as (

    select
        better.question_id,
        better.candidate_index as chosen_index,
        better.text_key as chosen_key,
        worse.candidate_index as rejected_index,
        better.reward - worse.reward as score_gap

    from usable as better

    inner join usable as worse
        on better.question_id = worse.question_id
        and better.origin <> 'negative'
        and worse.origin <> 'negative'
        and not better.is_refused
        and better.text_key <> worse.text_key
        and better.reward > worse.reward
        -- 3.3 - 3.0 is a little less than 0.3 in binary; the threshold itself is inside
        and better.reward - worse.reward >= $min_gap - 1e-9
        and (
            $strategy <> 'length_matched'
            or greatest(better.words_n, worse.words_n)
            <= $max_words_ratio * least(better.words_n, worse.words_n) + 1e-9
        )

    -- the same two texts, sampled twice, are one pair
    qualify row_number() over (
        partition by better.question_id, better.text_key, worse.text_key
        order by score_gap desc, chosen_index, rejected_index
    ) = 1

),

picked as (

    select
        compared.question_id,
        compared.chosen_index,
        compared.rejected_index,
        compared.score_gap

    from compared

    inner join best
        on compared.question_id = best.question_id
        and ($strategy <> 'best_random' or compared.chosen_key = best.text_key)

    qualify row_number() over (
        partition by compared.question_id
        -- the indices break ties, so the same input always gives the same pairs
        order by
            case
                when $strategy = 'best_random'
                    then md5_number_lower(compared.question_id || '/' || rejected_index)
            end,
            score_gap desc,
            chosen_index,
            rejected_index
    ) <= case when $strategy like 'best_%' then least($pairs_per_question, 1) else $pairs_per_question end

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
        and best.reward - usable.reward >= $min_gap - 1e-9
        and (
            $strategy <> 'length_matched'
            or greatest(best.words_n, usable.words_n)
            <= $max_words_ratio * least(best.words_n, usable.words_n) + 1e-9
        )

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

    select * from picked
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
    ) as bigint) as pair_rank,
    row_number() over (
        order by
            md5_number_lower(
                pairs.question_id || '/' || pairs.chosen_index || '/' || pairs.rejected_index
            ),
            pairs.question_id,
            pairs.chosen_index,
            pairs.rejected_index
    ) as draw_rank

from pairs

inner join texts as chosen
    on pairs.question_id = chosen.question_id
    and pairs.chosen_index = chosen.candidate_index

inner join texts as rejected
    on pairs.question_id = rejected.question_id
    and pairs.rejected_index = rejected.candidate_index

order by pairs.question_id, pairs.chosen_index, pairs.rejected_index
