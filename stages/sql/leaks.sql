-- leaks: pairs whose question, or whose cluster, is not in the train split. Must be empty.
-- Grain: one row per (question_id, split).

select
    preferences.question_id,
    questions.split

from preferences

inner join questions
    on preferences.question_id = questions.question_id

where questions.split <> 'train'

union

select
    preferences.question_id,
    questions.split

from preferences

inner join questions
    on preferences.cluster_id = questions.cluster_id

where questions.split <> 'train'

order by question_id, split
