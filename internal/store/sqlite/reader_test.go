package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// A page must be found by seeking, or reading all pages would take the square of
// their number.
func TestQueriesSeek(t *testing.T) {
	st := mustOpen(t, Config{Path: filepath.Join(t.TempDir(), "store.db")})
	for query, want := range map[string]string{
		listQuery: "SEARCH r USING INDEX sqlite_autoindex_records_1 (key>? AND key<?)",
		getQuery:  "SEARCH records USING INDEX sqlite_autoindex_records_1 (key=?)",
		`SELECT mod_revision FROM records WHERE key = 'a'`:                                         "SEARCH records USING INDEX sqlite_autoindex_records_1 (key=?)",
		`SELECT id, key FROM history WHERE id >= 1024 AND key >= 'a' AND key < 'b' ORDER BY id`:    "SEARCH history USING INTEGER PRIMARY KEY (rowid>?)",
		`SELECT max(id) FROM (SELECT id, at FROM history ORDER BY id LIMIT 4096) WHERE at < 10000`: "SCAN history",
	} {
		rows, err := st.readers.Query(`EXPLAIN QUERY PLAN `+query, make([]any, strings.Count(query, "?"))...)
		if err != nil {
			t.Fatal(err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(plan, "; "); !strings.Contains(got, want) || strings.Contains(got, "B-TREE") {
			t.Errorf("%s\n\tis planned as %s\n\twant %s", query, got, want)
		}
	}
}
