-- What only the place in the feed tells: a hello must come first, nothing may follow the end.   In, out: feed.

UPDATE feed SET kind = 'invalid', detail = 'after the end'
WHERE line_no > (SELECT min(line_no) FROM feed WHERE kind = 'end');

UPDATE feed SET kind = 'invalid', detail = 'hello, but not the first line'
WHERE kind = 'hello' AND line_no > (SELECT min(line_no) FROM feed);
