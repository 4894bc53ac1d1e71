-- DPO minus SFT on every held-out metric: difference, 95 % interval, Holm's p, smallest effect seen.
select
    metric,
    decoding,
    round(mean_a, 3) as dpo,
    round(mean_b, 3) as sft,
    round(difference, 3) as difference,
    round(low, 3) as low,
    round(high, 3) as high,
    round(p_value_holm, 4) as p_value_holm,
    round(minimum_detectable_effect, 3) as minimum_detectable_effect,
    questions_n,
    clusters_n

from comparisons

where
    policy_a = 'dpo'
    and policy_b = 'sft'
    and course = 'all'
    and role = 'heldout'

order by decoding, metric
