-- Negatives that the reward scorers did not find worse: the scorer, or the negative, is at fault.
with rewards as (

    select
        question_id,
        candidate_index,
        avg(value) as reward

    from scores

    where role = 'reward'

    group by question_id, candidate_index

),

wrong as (

    select question_id, candidate_index, kind, explanation from negatives
    union all
    select question_id, candidate_index, kind, explanation from synthetic

),

candidate_rewards as (

    select
        question_id,
        max(reward) as best_candidate_reward

    from rewards

    where candidate_index < 1000 or candidate_index between 2000 and 2999

    group by question_id

)

select
    wrong.kind,
    wrong.question_id,
    round(rewards.reward, 3) as reward_stars,
    round(candidate_rewards.best_candidate_reward, 3) as best_candidate_stars,
    wrong.explanation

from drops

inner join wrong
    on drops.question_id = wrong.question_id
    and drops.candidate_index = wrong.candidate_index

left join rewards
    on drops.question_id = rewards.question_id
    and drops.candidate_index = rewards.candidate_index

left join candidate_rewards
    on drops.question_id = candidate_rewards.question_id

where drops.reason = 'not_worse'

order by reward_stars desc, wrong.question_id, wrong.candidate_index
