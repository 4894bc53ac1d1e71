-- Do students rate longer explanations higher? Mean rating by quarter of length, per course.
with quarters as (

    select
        course,
        explanation_words_n,
        question_rating_mean,
        ntile(4) over (partition by course order by explanation_words_n, row_id) as length_quarter

    from questions

    where question_rating_mean is not null

)

select
    course,
    length_quarter,
    count(*) as rows_n,
    min(explanation_words_n) as words_from,
    max(explanation_words_n) as words_to,
    round(avg(question_rating_mean), 3) as rating_mean_stars

from quarters

group by course, length_quarter

order by course, length_quarter
