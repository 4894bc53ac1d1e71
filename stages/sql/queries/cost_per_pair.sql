-- What the texts of each kind cost, and what a pair with one of them did.
with used as (

    select
        question_id,
        chosen_index as candidate_index

    from preferences

    union all

    select
        question_id,
        rejected_index

    from preferences

),

pairs as (

    select
        question_id,
        candidate_index,
        count(*) as pairs_n

    from used

    group by question_id, candidate_index

)

select
    synthetic.kind,
    count(*) as texts_n,
    count(*) filter (where synthetic.reason is null) as usable_n,
    coalesce(sum(pairs.pairs_n), 0)::bigint as pairs_n,
    round(sum(synthetic.cost_usd), 4) as cost_usd,
    round(sum(synthetic.cost_usd) / nullif(sum(pairs.pairs_n), 0), 4) as usd_per_pair

from synthetic

left join pairs
    on synthetic.question_id = pairs.question_id
    and synthetic.candidate_index = pairs.candidate_index

group by synthetic.kind

order by synthetic.kind
