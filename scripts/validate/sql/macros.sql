-- Words shared by the other files. late_ms(), skew_ms(), bin_ms() and tolerance() come from the command line.

CREATE MACRO bar_start(ts) AS ts - ts % 1000;
CREATE MACRO bar_end(ts) AS bar_start(ts) + 1000;
CREATE MACRO bin_start(ts) AS ts - ts % bin_ms();

-- The second that W - L lies in. W may be less than L, so this must be a floor, not a truncation.
CREATE MACRO closed_second(w) AS floor((w - late_ms()) / 1000)::BIGINT;

CREATE MACRO same_double(a, b) AS
    a IS NOT DISTINCT FROM b
    OR coalesce(abs(a - b) <= tolerance() * greatest(abs(a), abs(b)), false);

-- a <= b, with the slack that sums of doubles need.
CREATE MACRO at_most(a, b) AS a <= b OR same_double(a, b);
