-- A guest is no user of the same id: "~", which no id has, comes before the visitor id.
UPDATE events SET subject_id = '~' || visitor_id WHERE user_id IS NULL AND subject_id = visitor_id;
UPDATE event_lines SET subject_id = '~' || subject_id WHERE guest AND left(subject_id, 1) <> '~';
COMMENT ON COLUMN events.subject_id IS 'Whose event it is: the user, or "~" and the visitor id when nobody is signed in.';
