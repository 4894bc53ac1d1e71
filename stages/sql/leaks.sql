-- leaks: rows of training tables whose question, or whose cluster, is not in the train split,
-- or is unknown. Must be empty.
-- Grain: one row per (table_name, question_id, split).
-- Reads `rows`: table_name, question_id and cluster_id (null where the table has none).

with placed as (

    select
        rows.table_name,
        rows.question_id,
        coalesce(questions.split, 'none') as split

    from rows

    left join questions
        on rows.question_id = questions.question_id

    union

    select
        rows.table_name,
        rows.question_id,
        questions.split

    from rows

    inner join questions
        on rows.cluster_id = questions.cluster_id

)

select * from placed
where split <> 'train'
order by table_name, question_id, split
