-- views: one per table, and the numbers that the stages report in long form.
-- Paths are relative to the repository root. A view whose file is not built yet is left out;
-- `explanations`, the union of the policies' files that exist, is added by stages/query.py.

create view questions as from read_parquet('data/questions.parquet');

create view rejects as from read_parquet('data/rejects.parquet');

create view candidates as from read_parquet('data/candidates.parquet');

create view negatives as from read_parquet('data/negatives.parquet');

create view scores as from read_parquet('data/scores.parquet');

create view preferences as from read_parquet('data/preferences.parquet');

create view drops as from read_parquet('data/drops.parquet');

-- Named one by one: a file left over from a policy that is gone would enter a glob.
create view explanations_student as from read_parquet('data/explanations_student.parquet');

create view explanations_sft as from read_parquet('data/explanations_sft.parquet');

create view explanations_dpo as from read_parquet('data/explanations_dpo.parquet');

create view explanations_ilearner as from read_parquet('data/explanations_ilearner.parquet');

create view evaluations as from read_parquet('data/evaluations.parquet');

create view policy_means as from read_parquet('data/policy_means.parquet');

create view comparisons as from read_parquet('data/comparisons.parquet');

create view seed_comparisons as from read_parquet('data/seed_comparisons.parquet');

create view win_rates as from read_parquet('data/win_rates.parquet');

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
