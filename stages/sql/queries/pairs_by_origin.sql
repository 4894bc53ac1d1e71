-- Pairs by the origin of both texts: how many, how wide, and how often the chosen one is longer.
select
    chosen_origin,
    rejected_origin,
    negative_kind,
    count(*) as pairs_n,
    count(distinct question_id) as questions_n,
    round(median(score_gap), 3) as gap_median_stars,
    round(avg(cast(length(chosen) > length(rejected) as double)), 3) as chosen_longer_frac

from preferences

group by all

order by pairs_n desc, chosen_origin, rejected_origin, negative_kind
