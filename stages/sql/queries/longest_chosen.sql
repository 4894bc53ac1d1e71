-- The twenty longest chosen explanations, beside the length of what they beat.
select
    question_id,
    chosen_origin,
    len(string_split_regex(trim(chosen), '\s+')) as chosen_words_n,
    -- an empty text splits into one empty word
    if(trim(rejected) = '', 0, len(string_split_regex(trim(rejected), '\s+'))) as rejected_words_n,
    round(score_gap, 3) as gap_stars,
    chosen

from preferences

order by chosen_words_n desc, question_id, chosen_index, rejected_index

limit 20
