-- ILearner round by round: how many texts got there, their rating, and how many stopped there.
select
    decoding,
    round_index,
    count(*) as texts_n,
    round(avg(verifier_rating), 3) as rating_mean_stars,
    round(median(tokens_n), 1) as tokens_median,
    round(avg(cast(is_final as double)), 3) as final_frac

from explanations_ilearner

group by decoding, round_index

order by decoding, round_index
