"""The route, in reading order. One stage is one module, one section of params.yaml and one
report; `dvc.yaml` says what each reads and writes.

    make_sample_course     our facts              -> invented PeerWise exports
    prepare_questions      exports                -> questions, questions_taught, rejects
    check_leakage          questions; later texts -> leakage_questions, leakage_texts
    prepare_base           texts, or a hub model  -> models/base
    train_verifier         questions, base        -> models/verifier_*, predictions_*
    check_verifier         predictions, questions -> fitness_reward, fitness_judge
    train_entailment       questions              -> models/entailment
    train_solver           questions              -> models/solver
    train_students         questions              -> models/students
    synthesize             questions; later candidates -> synthetic_questions, synthetic
                                                     (empty by default)
    train_sft              questions, base        -> models/sft
    sample_candidates      questions, sft         -> candidates
    make_negatives         questions, candidates  -> negatives
    score_candidates       candidates, negatives, synthetic -> scores
    build_preferences      scores, fitness_reward -> preferences, drops
    audit_preferences      preferences            -> pair_audit
    train_dpo              preferences, sft       -> models/dpo
    validate               questions, both policies -> validations
    repeat_training        questions, base, scorers -> explanations_repeats
    explain_test           questions, one adapter -> explanations_sft, explanations_dpo
    explain_test_student   questions              -> explanations_student
    explain_test_ilearner  questions, sft, verifier_reward -> explanations_ilearner
    explain_test_api       questions              -> explanations_api (empty by default)
    evaluate               explanations           -> evaluations, policy_means, comparisons,
                                                     seed_comparisons, win_rates
    judge_test_api         explanations           -> judgements (empty by default)
    report                 all of the above       -> reports/index.html, reports/summary.md

Trainings read questions_taught: the questions without courses that nothing may learn from.
What several stages do alike is in stages/steps, scorers by family in stages/scorers.

Commands that are no stages: query (SQL), timings (seconds per stage and per question), store
(computed rows and checkpoints that are kept), pin (hub revisions), tabulate_sweep (experiments as
a table), calibrate_leakage (limits of check_leakage), measure_scorers (judge and entailment scorer
on your own judged texts), merge_policy (a policy as one whole model, for a server),
distributed_smoke (DeepSpeed on two CPU ranks), benchmarks (our ways beside naive and strong ones).
"""
