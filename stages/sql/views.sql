-- views: one per table, and the numbers that the stages report in long form.
-- Paths are relative to the repository root. A view whose file is not built yet is left out;
-- `explanations`, the union of the policies' files that exist, is added by stages/query.py.

create view questions as from read_parquet('data/questions.parquet');

create view rejects as from read_parquet('data/rejects.parquet');

create view predictions_reward as from read_parquet('data/predictions_reward.parquet');

create view predictions_judge as from read_parquet('data/predictions_judge.parquet');

create view fitness_reward as from read_parquet('data/fitness_reward.parquet');

create view fitness_judge as from read_parquet('data/fitness_judge.parquet');

create view candidates as from read_parquet('data/candidates.parquet');

create view negatives as from read_parquet('data/negatives.parquet');

create view synthetic as from read_parquet('data/synthetic.parquet');

create view synthetic_questions as from read_parquet('data/synthetic_questions.parquet');

create view scores as from read_parquet('data/scores.parquet');

create view preferences as from read_parquet('data/preferences.parquet');

create view drops as from read_parquet('data/drops.parquet');

create view pair_audit as from read_parquet('data/pair_audit.parquet');

create view leakage_questions as from read_parquet('data/leakage_questions.parquet');

create view leakage_texts as from read_parquet('data/leakage_texts.parquet');

create view validations as from read_parquet('data/validations.parquet');

-- texts: where every candidate, negative and synthetic text went, with all its scores.
-- Grain: one row per (question_id, candidate_index). Either it is in a pair (chosen_n +
-- rejected_n > 0) or drop_reason says why not.
create view texts as

    with written as (

        select
            question_id,
            candidate_index,
            origin,
            cast(null as varchar) as negative_kind,
            temperature,
            explanation

        from read_parquet('data/candidates.parquet')

        union all

        select
            question_id,
            candidate_index,
            'negative' as origin,
            kind as negative_kind,
            null as temperature,
            explanation

        from read_parquet('data/negatives.parquet')

        union all

        select
            question_id,
            candidate_index,
            case when kind = 'reasoned_positive' then 'synthetic' else 'negative' end as origin,
            case when kind <> 'reasoned_positive' then kind end as negative_kind,
            null as temperature,
            explanation

        from read_parquet('data/synthetic.parquet')

    ),

    scored as (

        select
            question_id,
            candidate_index,
            map_from_entries(list((scorer, value) order by scorer)) as scores

        from read_parquet('data/scores.parquet')

        group by all

    ),

    sides as (

        select question_id, chosen_index as candidate_index, 1 as chosen_n, 0 as rejected_n
        from read_parquet('data/preferences.parquet')

        union all

        select question_id, rejected_index, 0, 1
        from read_parquet('data/preferences.parquet')

    ),

    used as (

        select
            question_id,
            candidate_index,
            sum(chosen_n)::bigint as chosen_n,
            sum(rejected_n)::bigint as rejected_n

        from sides

        group by all

    )

    select
        written.*,
        scored.scores,
        coalesce(used.chosen_n, 0) as chosen_n,
        coalesce(used.rejected_n, 0) as rejected_n,
        dropped.reason as drop_reason

    from written

    left join scored using (question_id, candidate_index)

    left join used using (question_id, candidate_index)

    left join read_parquet('data/drops.parquet') as dropped
        using (question_id, candidate_index)

    order by written.question_id, written.candidate_index;

-- Named one by one: a file left over from a policy that is gone would enter a glob.
create view explanations_student as from read_parquet('data/explanations_student.parquet');

create view explanations_sft as from read_parquet('data/explanations_sft.parquet');

create view explanations_dpo as from read_parquet('data/explanations_dpo.parquet');

create view explanations_ilearner as from read_parquet('data/explanations_ilearner.parquet');

create view explanations_api as from read_parquet('data/explanations_api.parquet');

create view explanations_repeats as from read_parquet('data/explanations_repeats.parquet');

create view evaluations as from read_parquet('data/evaluations.parquet');

create view policy_means as from read_parquet('data/policy_means.parquet');

create view comparisons as from read_parquet('data/comparisons.parquet');

create view seed_comparisons as from read_parquet('data/seed_comparisons.parquet');

create view win_rates as from read_parquet('data/win_rates.parquet');

create view judgements as from read_parquet('data/judgements.parquet');

-- metrics: every number in reports/<stage>.json. Grain: one row per (stage, name).
create view metrics as

    with reports as (

        select
            parse_filename(filename, true) as stage,
            json -> 'metrics' as numbers

        from read_json_objects('reports/*.json', filename = true)

    ),

    names as (

        select
            stage,
            numbers,
            unnest(json_keys(numbers)) as name

        from reports

    )

    select
        stage,
        name,
        -- the name is quoted, because it may hold characters that mean something in a path
        cast(json_extract(numbers, '$."' || name || '"') as double) as value

    from names

    order by stage, name;

-- curves: every logged training step. Grain: one row per (stage, step, name); no nulls.
create view curves as

    with rows_of_files as (

        select
            parse_filename(filename, true) as stage,
            * exclude (filename)

        from read_csv('reports/curves/*.csv', union_by_name = true, filename = true)

    )

    unpivot (

        select
            stage,
            step,
            cast(columns(* exclude (stage, step)) as double)

        from rows_of_files

    )

    on columns(* exclude (stage, step)) into name name value value

    order by stage, step, name;
