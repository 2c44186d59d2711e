-- Environment classes by name, each as JSON; `default` is only here where somebody changed it. And
-- environments that live by themselves wait by labels, as jobs do: `runs_on` is in alphabetical order,
-- separated by commas.

CREATE TABLE environment_classes (
    organisation_id TEXT NOT NULL,
    name TEXT NOT NULL,
    class TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, name)
);

ALTER TABLE environments ADD COLUMN runs_on TEXT NOT NULL DEFAULT '';
DROP INDEX environments_waiting;
CREATE INDEX environments_waiting ON environments (organisation_id, runs_on, number) WHERE phase = 'creating';
