-- Size of every split: rows, distinct questions, clusters, rows that SFT imitates, mean rating.
select
    split,
    count(*) as rows_n,
    count(distinct question_id) as questions_n,
    count(distinct cluster_id) as clusters_n,
    round(count(distinct cluster_id) / sum(count(distinct cluster_id)) over (), 3) as clusters_frac,
    count(*) filter (is_sft_row) as sft_rows_n,
    round(avg(question_rating_mean), 3) as rating_mean_stars

from questions

group by split

order by rows_n desc, split
