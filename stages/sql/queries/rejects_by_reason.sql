-- Rows of the exports that could not be used, by reason and course.
select
    reason,
    course,
    count(*) as rows_n,
    string_agg(distinct source_file, ', ' order by source_file) as source_files

from rejects

group by reason, course

order by rows_n desc, reason, course
