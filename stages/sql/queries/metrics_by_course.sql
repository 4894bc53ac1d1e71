-- Mean of every held-out metric for each policy and course, with its 95 % interval.
select
    course,
    metric,
    decoding,
    policy,
    round(mean, 3) as mean,
    round(low, 3) as low,
    round(high, 3) as high,
    questions_n,
    null_n

from policy_means

where role = 'heldout' and course <> 'all'

order by course, metric, decoding, policy
