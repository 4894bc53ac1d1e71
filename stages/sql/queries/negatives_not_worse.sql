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

candidate_rewards as (

    select
        question_id,
        max(reward) as best_candidate_reward

    from rewards

    where candidate_index < 1000

    group by question_id

)

select
    negatives.kind,
    negatives.question_id,
    round(rewards.reward, 3) as reward_stars,
    round(candidate_rewards.best_candidate_reward, 3) as best_candidate_stars,
    negatives.explanation

from drops

inner join negatives
    on drops.question_id = negatives.question_id
    and drops.candidate_index = negatives.candidate_index

left join rewards
    on drops.question_id = rewards.question_id
    and drops.candidate_index = rewards.candidate_index

left join candidate_rewards
    on drops.question_id = candidate_rewards.question_id

where drops.reason = 'not_worse'

order by reward_stars desc, negatives.question_id, negatives.candidate_index
