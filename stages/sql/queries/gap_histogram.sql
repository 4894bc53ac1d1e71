-- Histogram of score_gap in steps of 0.1 stars.
with bins as (

    select
        -- the small term puts 0.3 (0.29999... in binary) where a reader expects it
        cast(floor(score_gap * 10 + 1e-6) as bigint) as bin_index

    from preferences

),

counts as (

    select
        bin_index,
        count(*) as pairs_n

    from bins

    group by bin_index

)

select
    bin_index / 10 as gap_from_stars,
    (bin_index + 1) / 10 as gap_to_stars,
    pairs_n,
    bar(pairs_n, 0, max(pairs_n) over (), 40) as histogram

from counts

order by bin_index
