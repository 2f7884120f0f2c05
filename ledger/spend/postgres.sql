-- A batch of spends in one call: lock, decide, apply. The same rules as decide.py; both are held to one oracle.
-- One call in its own transaction: no client can stop while it holds a lock. PostgreSQL 14 or later.
CREATE OR REPLACE FUNCTION {name}(batch jsonb, hold_ids text[], asked_budgets text[], event_ids text[])
RETURNS jsonb LANGUAGE plpgsql AS $body$
DECLARE
    op record;
    answer jsonb;
    answers jsonb[] := '{}';

    budget_ids text[];          -- the locked budgets, and by their place in it:
    place jsonb;                -- id -> place
    rooms bigint[];
    spent_deltas bigint[];
    held_deltas bigint[];

    hold holds;
    named holds[] := array_fill(NULL::holds, ARRAY[cardinality(hold_ids)]);
    hold_place jsonb;
    fresh boolean[] := array_fill(false, ARRAY[cardinality(hold_ids)]);
    changed boolean[] := fresh;
    added_holds holds[] := '{}';
    changed_holds holds[] := '{}';

    taken_events text[];
    added_events jsonb[] := '{}';
    movement movements;
    added_movements movements[] := '{}';

    event jsonb;
    ending text;                -- how this operation ends its hold, if it does
    ender text;
    recipient text;
    charged bigint;
    overrun bigint;
    excess bigint;
    budget text;
    i int;
    j int;
BEGIN
    SELECT jsonb_object_agg(id, n) INTO hold_place FROM unnest(hold_ids) WITH ORDINALITY AS t(id, n);

    -- Lock. Budgets first, in the order of their ids, whoever comes; a hold's budgets never change.
    SELECT array_agg(DISTINCT id) INTO budget_ids FROM (
        SELECT unnest(asked_budgets) AS id
        UNION ALL
        SELECT unnest(h.budgets) FROM holds h WHERE h.id = ANY (hold_ids)
    ) wanted;
    SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(room), '{}') INTO budget_ids, rooms FROM (
        SELECT b.id, b.limit_usd_nanos - b.spent_usd_nanos - b.held_usd_nanos AS room
        FROM budgets b WHERE b.id = ANY (budget_ids) ORDER BY b.id FOR NO KEY UPDATE
    ) locked;
    SELECT coalesce(jsonb_object_agg(id, n), '{}') INTO place FROM unnest(budget_ids) WITH ORDINALITY AS t(id, n);
    spent_deltas := array_fill(0::bigint, ARRAY[cardinality(budget_ids)]);
    held_deltas := spent_deltas;
    FOR hold IN SELECT * FROM holds h WHERE h.id = ANY (hold_ids) ORDER BY h.id FOR UPDATE LOOP
        IF NOT hold.budgets <@ budget_ids THEN
            RAISE serialization_failure USING MESSAGE = 'a hold appeared while its budgets were being locked';
        END IF;
        named[(hold_place ->> hold.id)::int] := hold;
        IF hold.floor_event IS NOT NULL THEN
            event_ids := event_ids || (hold.floor_event ->> 'id');
        END IF;
    END LOOP;
    SELECT coalesce(array_agg(e.id::text), '{}') INTO taken_events
    FROM economic_events e WHERE e.id = ANY (event_ids);

    -- Decide, in the order of arrival.
    FOR op IN SELECT * FROM jsonb_to_recordset(batch) AS o(
        verb text, hold_id text, tenant_id text, budgets text[], amount bigint, owner text, lease_until_us bigint,
        ends_by text, fence bigint, to_account text, event jsonb, movement jsonb, at_us bigint
    ) LOOP
        answer := NULL;
        ending := NULL;
        ender := 'owner';
        charged := 0;
        overrun := 0;
        event := op.event;
        recipient := op.to_account;
        IF op.hold_id IS NOT NULL THEN
            i := (hold_place ->> op.hold_id)::int;
            hold := named[i];
        END IF;

        IF op.verb = 'record' THEN
            answer := '{"verdict": "done"}';
            IF NOT (event ->> 'id') = ANY (taken_events) THEN
                taken_events := taken_events || (event ->> 'id');
                added_events := added_events || event;
                IF (op.movement ->> 'usd_nanos')::bigint > 0 THEN
                    movement := jsonb_populate_record(NULL::movements, op.movement);
                    movement.id := 'mov_' || (event ->> 'id');
                    movement.tenant_id := event ->> 'tenant_id';
                    movement.event_id := event ->> 'id';
                    movement.at_us := (event ->> 'at_us')::bigint;
                    added_movements := added_movements || movement;
                END IF;
            END IF;

        ELSIF op.verb = 'reserve' THEN
            IF hold.id IS NOT NULL THEN
                answer := CASE
                    WHEN hold.tenant_id <> op.tenant_id THEN '{"verdict": "differs", "field": "tenant_id"}'
                    WHEN hold.budgets <> op.budgets THEN '{"verdict": "differs", "field": "budgets"}'
                    WHEN hold.amount_usd_nanos <> op.amount THEN '{"verdict": "differs", "field": "amount_usd_nanos"}'
                    ELSE jsonb_build_object('verdict', 'held', 'hold', to_jsonb(hold))
                END;
            ELSE
                FOREACH budget IN ARRAY op.budgets LOOP
                    IF NOT place ? budget THEN
                        answer := jsonb_build_object('verdict', 'unknown_budget', 'id', budget);
                        EXIT;
                    END IF;
                    j := (place ->> budget)::int;
                    IF answer IS NULL AND rooms[j] < op.amount THEN
                        answer := jsonb_build_object('verdict', 'refused', 'id', budget, 'room', rooms[j]);
                    END IF;
                END LOOP;
                IF answer IS NULL THEN
                    FOREACH budget IN ARRAY op.budgets LOOP
                        j := (place ->> budget)::int;
                        rooms[j] := rooms[j] - op.amount;
                        held_deltas[j] := held_deltas[j] + op.amount;
                    END LOOP;
                    hold := NULL;
                    hold.id := op.hold_id;
                    hold.tenant_id := op.tenant_id;
                    hold.budgets := op.budgets;
                    hold.amount_usd_nanos := op.amount;
                    hold.state := 'held';
                    hold.owner := op.owner;
                    hold.lease_until_us := op.lease_until_us;
                    hold.fence := 1;
                    hold.ends_by := op.ends_by;
                    hold.floor_usd_nanos := 0;
                    hold.captured_usd_nanos := 0;
                    hold.overrun_usd_nanos := 0;
                    hold.created_at_us := op.at_us;
                    named[i] := hold;
                    fresh[i] := true;
                    answer := '{"verdict": "held"}';
                END IF;
            END IF;

        ELSIF hold.id IS NULL THEN
            answer := jsonb_build_object('verdict', 'unknown_hold', 'id', op.hold_id);

        ELSIF op.verb = 'expire' THEN
            IF hold.state <> 'held' OR hold.lease_until_us > op.at_us
                OR (hold.ends_by = 'chain' AND hold.sent_at_us IS NOT NULL)
            THEN
                answer := '{"verdict": "not_due"}';
            ELSIF hold.sent_at_us IS NULL THEN
                ending := 'released';
                ender := 'sweeper';
            ELSE
                ending := 'captured';
                ender := 'sweeper';
                recipient := 'upstream';
                charged := least(hold.floor_usd_nanos, hold.amount_usd_nanos);
                event := hold.floor_event || '{"estimated": true, "evidence_status": "missing"}';
            END IF;

        ELSIF op.fence <> hold.fence THEN
            answer := jsonb_build_object('verdict', 'ended', 'state', hold.state);

        ELSIF hold.state <> 'held' THEN
            answer := CASE
                WHEN op.verb = 'capture' AND hold.state = 'captured' AND hold.ended_by = 'owner'
                    AND hold.captured_usd_nanos + hold.overrun_usd_nanos = op.amount
                THEN jsonb_build_object('verdict', 'captured', 'captured', hold.captured_usd_nanos,
                    'overrun', hold.overrun_usd_nanos, 'event_id', hold.event_id)
                WHEN op.verb = 'release' AND hold.state = 'released' AND hold.ended_by = 'owner'
                THEN '{"verdict": "done"}'
                ELSE jsonb_build_object('verdict', 'ended', 'state', hold.state)
            END;

        ELSIF op.verb = 'sent' THEN
            hold.sent_at_us := coalesce(hold.sent_at_us, op.at_us);
            hold.floor_usd_nanos := op.amount;
            hold.floor_event := coalesce(op.event, hold.floor_event);
            named[i] := hold;
            changed[i] := true;
            answer := '{"verdict": "done"}';

        ELSIF op.verb = 'renew' THEN
            hold.lease_until_us := greatest(hold.lease_until_us, op.lease_until_us);
            named[i] := hold;
            changed[i] := true;
            answer := '{"verdict": "done"}';

        ELSIF (event ->> 'id') = ANY (taken_events) THEN
            answer := '{"verdict": "differs", "field": "event.id"}';

        ELSIF op.verb = 'release' THEN
            ending := 'released';

        ELSIF op.verb = 'capture' THEN
            ending := 'captured';
            excess := greatest(0, op.amount - hold.amount_usd_nanos);
            FOREACH budget IN ARRAY hold.budgets LOOP
                IF rooms[(place ->> budget)::int] < excess THEN
                    overrun := excess;
                END IF;
            END LOOP;
            charged := op.amount - overrun;

        ELSE
            RAISE EXCEPTION 'unknown verb %', op.verb;
        END IF;

        IF ending IS NOT NULL THEN
            -- From here on nothing can fail.
            FOREACH budget IN ARRAY hold.budgets LOOP
                j := (place ->> budget)::int;
                rooms[j] := rooms[j] + hold.amount_usd_nanos - charged;
                spent_deltas[j] := spent_deltas[j] + charged;
                held_deltas[j] := held_deltas[j] - hold.amount_usd_nanos;
            END LOOP;
            IF event IS NOT NULL AND NOT (event ->> 'id') = ANY (taken_events) THEN
                taken_events := taken_events || (event ->> 'id');
                added_events := added_events || (event || jsonb_build_object(
                    'at_us', op.at_us, 'cost_usd_nanos', charged, 'overrun_usd_nanos', overrun));
            END IF;
            IF charged > 0 THEN
                movement := NULL;
                movement.id := 'mov_' || hold.id;
                movement.tenant_id := hold.tenant_id;
                movement.kind := 'capture';
                movement.hold_id := hold.id;
                movement.event_id := event ->> 'id';
                movement.from_account := 'tenant:' || hold.tenant_id;
                movement.to_account := recipient;
                movement.usd_nanos := charged;
                movement.at_us := op.at_us;
                added_movements := added_movements || movement;
            END IF;
            hold.state := ending;
            hold.fence := hold.fence + (ender = 'sweeper')::int;
            hold.captured_usd_nanos := charged;
            hold.overrun_usd_nanos := overrun;
            hold.event_id := event ->> 'id';
            hold.ended_by := ender;
            hold.ended_at_us := op.at_us;
            named[i] := hold;
            changed[i] := true;
            answer := CASE WHEN ending = 'released' THEN '{"verdict": "done"}'
                ELSE jsonb_build_object('verdict', 'captured', 'captured', charged, 'overrun', overrun,
                    'event_id', hold.event_id)
            END;
        END IF;
        answers := answers || answer;
    END LOOP;

    -- Apply: one update per budget. Its constraint is the last line, should a decision be wrong.
    -- Rows are found by = ANY and by their keys: a join with unnest, planned while a table was empty, scans it for ever.
    UPDATE budgets b SET
        spent_usd_nanos = b.spent_usd_nanos + spent_deltas[(place ->> b.id)::int],
        held_usd_nanos = b.held_usd_nanos + held_deltas[(place ->> b.id)::int],
        version = b.version + 1
    WHERE b.id = ANY (budget_ids)
        AND (spent_deltas[(place ->> b.id)::int] <> 0 OR held_deltas[(place ->> b.id)::int] <> 0);
    FOR i IN 1 .. cardinality(hold_ids) LOOP
        IF fresh[i] THEN
            added_holds := added_holds || named[i];
        ELSIF changed[i] THEN
            changed_holds := changed_holds || named[i];
        END IF;
    END LOOP;
    INSERT INTO holds SELECT h.* FROM unnest(added_holds) AS h;
    INSERT INTO holds SELECT h.* FROM unnest(changed_holds) AS h ON CONFLICT (id) DO UPDATE SET
        state = excluded.state, lease_until_us = excluded.lease_until_us, fence = excluded.fence,
        sent_at_us = excluded.sent_at_us, floor_usd_nanos = excluded.floor_usd_nanos,
        floor_event = excluded.floor_event, captured_usd_nanos = excluded.captured_usd_nanos,
        overrun_usd_nanos = excluded.overrun_usd_nanos, event_id = excluded.event_id,
        ended_by = excluded.ended_by, ended_at_us = excluded.ended_at_us;
    INSERT INTO economic_events
        SELECT e.* FROM unnest(added_events) AS row, jsonb_populate_record(NULL::economic_events, row) AS e;
    INSERT INTO movements SELECT m.* FROM unnest(added_movements) AS m;
    RETURN to_jsonb(answers);
END
$body$
