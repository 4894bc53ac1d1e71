-- Do the counts add up? Texts in pairs and dropped texts, per origin; unaccounted_n must be 0.
select
    origin,
    count(*) as texts_n,
    count(*) filter (where chosen_n + rejected_n > 0) as in_pairs_n,
    count(*) filter (where drop_reason is not null) as dropped_n,
    count(*) filter (where (chosen_n + rejected_n > 0) = (drop_reason is not null)) as unaccounted_n

from texts

group by rollup (origin)

order by origin nulls last
