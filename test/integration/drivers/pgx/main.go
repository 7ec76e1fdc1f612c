// What Go's pgx does, as one JSON object of check to result: the caller compares it between a direct and a gated session.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type check struct {
	name string
	run  func(context.Context, *pgx.Conn) (any, error)
}

func errorOf(err error) any {
	var failure *pgconn.PgError
	if errors.As(err, &failure) {
		return []string{failure.Code, failure.Severity, failure.Message}
	}
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("%T", err)
}

func ids(rows pgx.Rows, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	return found, err
}

var people = "SELECT id FROM people WHERE id < $1 ORDER BY id"

func mode(mode pgx.QueryExecMode) func(context.Context, *pgx.Conn) (any, error) {
	return func(ctx context.Context, connection *pgx.Conn) (any, error) {
		var results []any
		for turn := 0; turn < 3; turn++ {
			var id int32
			var name string
			var amount float64
			err := connection.QueryRow(ctx, "SELECT id, name, amount::float8 FROM people WHERE id = $1", mode, int32(turn+3)).Scan(&id, &name, &amount)
			if err != nil {
				return nil, err
			}
			results = append(results, []any{id, name, amount})
		}
		found, err := ids(connection.Query(ctx, people, mode, int32(5)))
		_, failed := connection.Exec(ctx, "SELECT 1 / $1::int", mode, int32(0))
		_, missing := connection.Exec(ctx, "SELECT * FROM missing WHERE id = $1", mode, int32(0))
		return []any{results, found, errorOf(failed), errorOf(missing)}, err
	}
}

var checks = []check{
	{"cache statement", mode(pgx.QueryExecModeCacheStatement)},
	{"cache describe", mode(pgx.QueryExecModeCacheDescribe)},
	{"describe exec", mode(pgx.QueryExecModeDescribeExec)},
	{"exec", mode(pgx.QueryExecModeExec)},
	{"simple protocol", mode(pgx.QueryExecModeSimpleProtocol)},
	{"prepared", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		description, err := connection.Prepare(ctx, "by_id", "SELECT name, born FROM people WHERE id = $1")
		if err != nil {
			return nil, err
		}
		var name string
		var born time.Time
		if err := connection.QueryRow(ctx, "by_id", int32(9)).Scan(&name, &born); err != nil {
			return nil, err
		}
		gone := connection.Deallocate(ctx, "by_id")
		return []any{description.ParamOIDs, len(description.Fields), name, born.Format(time.DateOnly), errorOf(gone)}, nil
	}},
	{"unknown statement", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		result := connection.PgConn().ExecPrepared(ctx, "never_made", nil, nil, nil).Read()
		again, err := ids(connection.Query(ctx, people, int32(3)))
		return []any{errorOf(result.Err), again}, err
	}},
	{"batch", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		batch := &pgx.Batch{}
		for number := 1; number <= 40; number++ {
			batch.Queue(people, int32(number))
		}
		batch.Queue("INSERT INTO notes (id, body) VALUES (5000, 'batched')")
		batch.Queue("DELETE FROM notes WHERE id = 5000")
		results := connection.SendBatch(ctx, batch)
		total := 0
		for number := 1; number <= 40; number++ {
			rows, err := results.Query()
			if err != nil {
				return nil, err
			}
			found, err := pgx.CollectRows(rows, pgx.RowTo[int32])
			if err != nil {
				return nil, err
			}
			total += len(found)
		}
		inserted, err := results.Exec()
		if err != nil {
			return nil, err
		}
		deleted, err := results.Exec()
		if err != nil {
			return nil, err
		}
		return []any{total, inserted.String(), deleted.String(), errorOf(results.Close())}, nil
	}},
	{"batch with an error", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		batch := &pgx.Batch{}
		batch.Queue("INSERT INTO notes (id, body) VALUES (5001, 'rolled back')")
		batch.Queue("SELECT 1 / $1::int", int32(0))
		batch.Queue("SELECT 1")
		failed := connection.SendBatch(ctx, batch).Close()
		var count int
		err := connection.QueryRow(ctx, "SELECT count(*) FROM notes WHERE id = 5001").Scan(&count)
		return []any{errorOf(failed), count}, err
	}},
	{"pipeline", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		pipeline := connection.PgConn().StartPipeline(ctx)
		pipeline.SendQueryParams("SELECT 1", nil, nil, nil, nil)
		if err := pipeline.Sync(); err != nil {
			return nil, err
		}
		pipeline.SendQueryParams("SELECT 1/0", nil, nil, nil, nil)
		pipeline.SendQueryParams("SELECT 2", nil, nil, nil, nil)
		if err := pipeline.Sync(); err != nil {
			return nil, err
		}
		pipeline.SendPrepare("later", "SELECT 3", nil)
		pipeline.SendQueryPrepared("later", nil, nil, nil)
		if err := pipeline.Sync(); err != nil {
			return nil, err
		}
		var seen []any
		for {
			result, err := pipeline.GetResults()
			if err != nil {
				seen = append(seen, errorOf(err))
				continue
			}
			if result == nil {
				break
			}
			switch one := result.(type) {
			case *pgconn.ResultReader:
				read := one.Read()
				seen = append(seen, []any{len(read.Rows), errorOf(read.Err)})
			default:
				seen = append(seen, strings.TrimPrefix(fmt.Sprintf("%T", one), "*pgconn."))
			}
		}
		return seen, pipeline.Close()
	}},
	{"transactions", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		outer, err := connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
		if err != nil {
			return nil, err
		}
		inner, err := outer.Begin(ctx)
		if err != nil {
			return nil, err
		}
		_, failed := inner.Exec(ctx, "SELECT 1/0")
		_, aborted := inner.Exec(ctx, "SELECT 1")
		if err := inner.Rollback(ctx); err != nil {
			return nil, err
		}
		found, err := ids(outer.Query(ctx, people, int32(3)))
		status := string(connection.PgConn().TxStatus())
		return []any{errorOf(failed), errorOf(aborted), found, status, errorOf(outer.Commit(ctx))}, err
	}},
	{"cursor", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		transaction, err := connection.Begin(ctx)
		if err != nil {
			return nil, err
		}
		defer transaction.Rollback(ctx)
		if _, err := transaction.Exec(ctx, "DECLARE walk CURSOR FOR SELECT id FROM people ORDER BY id"); err != nil {
			return nil, err
		}
		first, err := ids(transaction.Query(ctx, "FETCH 3 FROM walk"))
		if err != nil {
			return nil, err
		}
		second, err := ids(transaction.Query(ctx, "FETCH 2 FROM walk"))
		return []any{first, second}, err
	}},
	{"copy", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		if _, err := connection.Exec(ctx, "CREATE TABLE copied (id int, body text, tags text[])"); err != nil {
			return nil, err
		}
		defer connection.Exec(ctx, "DROP TABLE copied")
		source := pgx.CopyFromSlice(3000, func(number int) ([]any, error) {
			return []any{int32(number), fmt.Sprintf("body %d", number), []string{"a", "b"}}, nil
		})
		count, err := connection.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id", "body", "tags"}, source)
		if err != nil {
			return nil, err
		}
		failing := pgx.CopyFromFunc(func() ([]any, error) { return nil, errors.New("no more") })
		_, failed := connection.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"id"}, failing)
		var text strings.Builder
		tag, err := connection.PgConn().CopyTo(ctx, &text, "COPY (SELECT * FROM copied WHERE id % 1000 = 0 ORDER BY id) TO STDOUT")
		return []any{count, errorOf(failed), text.String(), tag.String()}, err
	}},
	{"large objects", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		transaction, err := connection.Begin(ctx)
		if err != nil {
			return nil, err
		}
		defer transaction.Rollback(ctx)
		objects := transaction.LargeObjects()
		oid, err := objects.Create(ctx, 0)
		if err != nil {
			return nil, err
		}
		object, err := objects.Open(ctx, oid, pgx.LargeObjectModeRead|pgx.LargeObjectModeWrite)
		if err != nil {
			return nil, err
		}
		if _, err := object.Write([]byte(strings.Repeat("abc", 1000))); err != nil {
			return nil, err
		}
		if _, err := object.Seek(2997, io.SeekStart); err != nil {
			return nil, err
		}
		tail, err := io.ReadAll(object)
		return []any{string(tail), errorOf(objects.Unlink(ctx, oid))}, err
	}},
	{"notifications", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		if _, err := connection.Exec(ctx, "LISTEN news"); err != nil {
			return nil, err
		}
		other, err := pgx.Connect(ctx, "")
		if err != nil {
			return nil, err
		}
		defer other.Close(ctx)
		if _, err := other.Exec(ctx, "NOTIFY news, 'hello'"); err != nil {
			return nil, err
		}
		notification, err := connection.WaitForNotification(ctx)
		if err != nil {
			return nil, err
		}
		return []any{notification.Channel, notification.Payload, notification.PID == other.PgConn().PID()}, nil
	}},
	{"cancel", func(ctx context.Context, connection *pgx.Conn) (any, error) {
		timer := time.AfterFunc(300*time.Millisecond, func() { connection.PgConn().CancelRequest(ctx) })
		defer timer.Stop()
		_, cancelled := connection.Exec(ctx, "SELECT pg_sleep(30)")
		found, err := ids(connection.Query(ctx, people, int32(2)))
		return []any{errorOf(cancelled), found}, err
	}},
}

func main() {
	results := map[string]any{}
	for _, one := range checks {
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		connection, err := pgx.Connect(ctx, "")
		if err == nil {
			var result any
			result, err = one.run(ctx, connection)
			results[one.name] = result
			connection.Close(ctx)
		}
		if err != nil {
			results[one.name] = fmt.Sprintf("failed: %v", err)
		}
		stop()
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}
