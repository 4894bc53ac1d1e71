-- Candidates and negatives that are in no pair: how many of each origin for which reason.
select
    origin,
    reason,
    count(*) as texts_n,
    round(count(*) / sum(count(*)) over (partition by origin), 3) as of_dropped_frac

from drops

group by origin, reason

order by origin, texts_n desc, reason
