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
    rooms bigint[];             -- in the budget's unit: nanos, or requests
    kinds text[];
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
    paid_to text;
    charged bigint;
    overrun bigint;
    excess bigint;
    granted bigint;
    shared numeric;
    last_share text;
    remainder bigint;
    part bigint;
    paid bigint[];              -- by each of the hold's budgets
    of_credits bigint;
    shares jsonb;
    added_items jsonb[] := '{}';
    budget text;
    i int;
    j int;
    k int;
BEGIN
    SELECT jsonb_object_agg(id, n) INTO hold_place FROM unnest(hold_ids) WITH ORDINALITY AS t(id, n);

    -- Lock. Budgets first, in the order of their ids, whoever comes; a hold's budgets never change.
    SELECT array_agg(DISTINCT id) INTO budget_ids FROM (
        SELECT unnest(asked_budgets) AS id
        UNION ALL
        SELECT unnest(h.budgets) FROM holds h WHERE h.id = ANY (hold_ids)
    ) wanted;
    SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(room), '{}'), coalesce(array_agg(kind), '{}')
    INTO budget_ids, rooms, kinds FROM (
        SELECT b.id, b.limit_usd_nanos - b.spent_usd_nanos - b.held_usd_nanos AS room, b.kind
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
        verb text, hold_id text, tenant_id text, budgets text[], hows text[], amount bigint, least bigint, most bigint, owner text,
        lease_until_us bigint, ends_by text, sent_at_us bigint, floor_usd_nanos bigint, request_key text, fence bigint,
        to_account text, event jsonb, kept jsonb, at_us bigint
    ) LOOP
        answer := NULL;
        ending := NULL;
        ender := 'owner';
        charged := 0;
        overrun := 0;
        event := op.event;
        paid_to := op.to_account;
        IF op.hold_id IS NOT NULL THEN
            i := (hold_place ->> op.hold_id)::int;
            hold := named[i];
        END IF;

        IF op.verb = 'record' THEN
            answer := CASE WHEN (event ->> 'id') = ANY (taken_events) THEN '{"verdict": "done"}'::jsonb END;
            IF answer IS NULL THEN
                FOREACH budget IN ARRAY op.budgets LOOP
                    IF NOT place ? budget THEN
                        answer := jsonb_build_object('verdict', 'unknown_budget', 'id', budget);
                        EXIT;
                    ELSIF rooms[(place ->> budget)::int] < 1 THEN
                        answer := jsonb_build_object('verdict', 'refused', 'id', budget, 'room', 0);
                        EXIT;
                    END IF;
                END LOOP;
            END IF;
            IF answer IS NULL THEN
                answer := '{"verdict": "done"}';
                FOREACH budget IN ARRAY op.budgets LOOP
                    j := (place ->> budget)::int;
                    rooms[j] := rooms[j] - 1;
                    spent_deltas[j] := spent_deltas[j] + 1;
                END LOOP;
                taken_events := taken_events || (event ->> 'id');
                added_events := added_events || event;
            END IF;

        ELSIF op.verb = 'reserve' THEN
            IF hold.id IS NOT NULL THEN
                answer := CASE
                    WHEN hold.tenant_id <> op.tenant_id THEN '{"verdict": "differs", "field": "tenant_id"}'
                    WHEN hold.budgets <> op.budgets THEN '{"verdict": "differs", "field": "budgets"}'
                    WHEN hold.hows <> op.hows THEN '{"verdict": "differs", "field": "hows"}'
                    WHEN hold.amount_usd_nanos NOT BETWEEN op.least AND op.amount
                    THEN '{"verdict": "differs", "field": "amount_usd_nanos"}'
                    ELSE jsonb_build_object('verdict', 'held', 'hold', to_jsonb(hold))
                END;
            ELSE
                granted := op.amount;
                shared := 0;
                last_share := NULL;
                FOREACH budget IN ARRAY op.budgets LOOP
                    IF NOT place ? budget THEN
                        answer := jsonb_build_object('verdict', 'unknown_budget', 'id', budget);
                        EXIT;
                    END IF;
                END LOOP;
                FOR k IN 1 .. coalesce(cardinality(op.budgets), 0) LOOP
                    EXIT WHEN answer IS NOT NULL;
                    budget := op.budgets[k];
                    j := (place ->> budget)::int;
                    IF op.hows[k] = 'share' THEN
                        shared := shared + rooms[j];
                        last_share := budget;
                    ELSIF rooms[j] < (CASE op.hows[k] WHEN 'whole' THEN op.least ELSE 1 END) THEN
                        answer := jsonb_build_object('verdict', 'refused', 'id', budget, 'room', rooms[j]);
                    ELSIF op.hows[k] = 'whole' THEN
                        granted := least(granted, rooms[j]);
                    END IF;
                END LOOP;
                IF answer IS NULL AND last_share IS NOT NULL THEN
                    IF shared < op.least THEN
                        answer := jsonb_build_object('verdict', 'refused', 'id', last_share, 'room', shared);
                    END IF;
                    granted := least(granted, shared);
                END IF;
                IF answer IS NULL THEN
                    -- From here on nothing can fail.
                    hold := NULL;
                    hold.parts := '{}';
                    remainder := granted;
                    FOR k IN 1 .. coalesce(cardinality(op.budgets), 0) LOOP
                        j := (place ->> op.budgets[k])::int;
                        IF op.hows[k] = 'count' THEN
                            rooms[j] := rooms[j] - 1;
                            spent_deltas[j] := spent_deltas[j] + 1;
                            part := 0;
                        ELSE
                            part := CASE op.hows[k] WHEN 'whole' THEN granted WHEN 'slot' THEN 1
                                ELSE least(remainder, rooms[j]) END;
                            IF op.hows[k] = 'share' THEN
                                remainder := remainder - part;
                            END IF;
                            rooms[j] := rooms[j] - part;
                            held_deltas[j] := held_deltas[j] + part;
                        END IF;
                        hold.parts := hold.parts || part;
                    END LOOP;
                    hold.id := op.hold_id;
                    hold.tenant_id := op.tenant_id;
                    hold.budgets := op.budgets;
                    hold.hows := op.hows;
                    hold.amount_usd_nanos := granted;
                    hold.state := 'held';
                    hold.owner := op.owner;
                    hold.lease_until_us := op.lease_until_us;
                    hold.fence := 1;
                    hold.ends_by := op.ends_by;
                    hold.sent_at_us := op.sent_at_us;
                    hold.floor_usd_nanos := op.floor_usd_nanos;
                    hold.floor_event := op.event;
                    hold.request_key := op.request_key;
                    hold.captured_usd_nanos := 0;
                    hold.overrun_usd_nanos := 0;
                    hold.created_at_us := op.at_us;
                    named[i] := hold;
                    fresh[i] := true;
                    answer := jsonb_build_object('verdict', 'held', 'amount', granted, 'parts', to_jsonb(hold.parts));
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
                paid_to := 'upstream';
                charged := least(hold.floor_usd_nanos, hold.amount_usd_nanos);
                event := hold.floor_event || '{"estimated": true, "evidence_status": "missing"}';
            END IF;

        ELSIF op.fence <> hold.fence THEN
            answer := jsonb_build_object('verdict', 'ended', 'state', hold.state);

        ELSIF hold.state <> 'held' THEN
            answer := CASE
                WHEN op.verb = 'capture' AND hold.state = 'captured' AND hold.ended_by = 'owner'
                    AND hold.captured_usd_nanos + hold.overrun_usd_nanos = op.amount
                THEN '{"verdict": "captured"}'
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
            shared := NULL;
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                j := (place ->> hold.budgets[k])::int;
                IF hold.hows[k] = 'whole' AND rooms[j] < excess THEN
                    overrun := excess;
                ELSIF hold.hows[k] = 'share' THEN
                    shared := coalesce(shared, 0) + rooms[j];
                END IF;
            END LOOP;
            IF shared < excess OR op.amount > op.most THEN
                overrun := excess;
            END IF;
            charged := op.amount - overrun;
            IF op.kept IS NOT NULL THEN
                added_items := added_items || op.kept;
            END IF;

        ELSE
            RAISE EXCEPTION 'unknown verb %', op.verb;
        END IF;

        IF ending IS NOT NULL THEN
            -- From here on nothing can fail.
            -- Caps pay all of it, shares in order what they hold, and then what they have besides.
            paid := '{}';
            remainder := charged;
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                j := (place ->> hold.budgets[k])::int;
                part := 0;
                IF hold.hows[k] = 'whole' THEN
                    part := charged;
                ELSIF hold.hows[k] = 'share' THEN
                    part := least(remainder, hold.parts[k]);
                    remainder := remainder - part;
                END IF;
                paid := paid || part;
            END LOOP;
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                IF hold.hows[k] = 'share' AND remainder > 0 THEN
                    part := least(remainder, rooms[(place ->> hold.budgets[k])::int]);
                    paid[k] := paid[k] + part;
                    remainder := remainder - part;
                END IF;
            END LOOP;
            of_credits := 0;
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                j := (place ->> hold.budgets[k])::int;
                rooms[j] := rooms[j] + hold.parts[k] - paid[k];
                spent_deltas[j] := spent_deltas[j] + paid[k];
                held_deltas[j] := held_deltas[j] - hold.parts[k];
                IF kinds[j] IN ('credits', 'test-credits') THEN
                    of_credits := of_credits + paid[k];
                END IF;
            END LOOP;
            IF event IS NOT NULL AND NOT (event ->> 'id') = ANY (taken_events) THEN
                taken_events := taken_events || (event ->> 'id');
                added_events := added_events || (event || jsonb_build_object(
                    'at_us', op.at_us, 'cost_usd_nanos', charged, 'overrun_usd_nanos', overrun,
                    'credits_usd_nanos', of_credits));
            END IF;
            movement := NULL;
            movement.tenant_id := hold.tenant_id;
            movement.kind := 'capture';
            movement.hold_id := hold.id;
            movement.event_id := event ->> 'id';
            movement.to_account := paid_to;
            movement.at_us := op.at_us;
            IF charged > 0 AND NOT 'share' = ANY (hold.hows) THEN
                movement.id := 'mov_' || hold.id;
                movement.from_account := 'tenant:' || hold.tenant_id;
                movement.usd_nanos := charged;
                added_movements := added_movements || movement;
            END IF;
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                IF hold.hows[k] = 'share' AND paid[k] > 0 THEN
                    movement.id := 'mov_' || hold.id || '.' || (k - 1);
                    movement.from_account := hold.budgets[k];
                    movement.usd_nanos := paid[k];
                    added_movements := added_movements || movement;
                END IF;
            END LOOP;
            hold.state := ending;
            hold.floor_event := NULL;
            hold.fence := hold.fence + (ender = 'sweeper')::int;
            hold.captured_usd_nanos := charged;
            hold.overrun_usd_nanos := overrun;
            hold.event_id := event ->> 'id';
            hold.ended_by := ender;
            hold.ended_at_us := op.at_us;
            hold.parts := paid;
            named[i] := hold;
            changed[i] := true;
            answer := CASE WHEN ending = 'released' THEN '{"verdict": "done"}'::jsonb
                ELSE '{"verdict": "captured"}' END;
        END IF;
        IF answer ->> 'verdict' = 'captured' THEN
            shares := '[]';
            FOR k IN 1 .. coalesce(cardinality(hold.budgets), 0) LOOP
                IF hold.hows[k] = 'share' THEN
                    budget := hold.budgets[k];
                    shares := shares || jsonb_build_array(
                        jsonb_build_array(budget, hold.parts[k], rooms[(place ->> budget)::int]));
                END IF;
            END LOOP;
            answer := answer || jsonb_build_object('captured', hold.captured_usd_nanos,
                'overrun', hold.overrun_usd_nanos, 'event_id', hold.event_id, 'shares', shares);
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
        ended_by = excluded.ended_by, ended_at_us = excluded.ended_at_us, parts = excluded.parts;
    INSERT INTO economic_events
        SELECT e.* FROM unnest(added_events) AS row, jsonb_populate_record(NULL::economic_events, row) AS e;
    INSERT INTO movements SELECT m.* FROM unnest(added_movements) AS m;
    INSERT INTO vault_items
        SELECT v.* FROM unnest(added_items) AS row, jsonb_populate_record(NULL::vault_items, row) AS v;
    RETURN to_jsonb(answers);
END
$body$
