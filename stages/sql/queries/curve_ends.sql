-- First and last value of every training curve.
select
    stage,
    name,
    count(*) as points_n,
    arg_min(value, step) as first_value,
    arg_max(value, step) as last_value

from curves

group by stage, name

order by stage, name
