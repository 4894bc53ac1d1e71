-- Every number that a stage reports.
select
    stage,
    name,
    value

from metrics

order by stage, name
