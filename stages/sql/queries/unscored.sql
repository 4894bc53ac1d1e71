-- Scores and metrics that are null, counted by their reason.
select
    'scores' as source,
    scorer as name,
    reason,
    count(*) as nulls_n

from scores

where value is null

group by all

union all

select
    'evaluations' as source,
    metric as name,
    reason,
    count(*) as nulls_n

from evaluations

where value is null

group by all

order by source, nulls_n desc, name, reason
