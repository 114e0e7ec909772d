package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	cv1 "github.com/casemate-dev/casemate/gen/casemate/coordinator/v1"
	"github.com/casemate-dev/casemate/internal/dev"
)

func TestAHostIsDrainedAndRemovedFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := start(t, dev.Options{Hosts: []string{"none", "none"}})
	spec := f.versions(t, "moving", app{boot: 100 * time.Millisecond})
	f.ok(t, "container", "create", "moving", "--repo", spec.GetRepository(), "--tag", "v1", "--variable", "LOG_LEVEL=debug", "--yes")
	load := f.load(t, "moving")
	var before cv1.Container
	f.json(t, &before, "container", "get", "moving")
	host := before.GetActiveHost()
	f.fails(t, 1, "HOST_IN_USE", "host", "remove", host, "--yes")

	says(t, f.ok(t, "host", "drain", host, "--yes"), "moving")
	f.ok(t, "container", "update", "status", "moving", "--follow")
	var after cv1.Container
	f.json(t, &after, "container", "get", "moving")
	if after.GetActiveHost() == host || after.GetStatus() != isRunning {
		t.Errorf("after the drain of %s it is %s on %s", host, after.GetStatus(), after.GetActiveHost())
	}
	unharmed(t, load)
	says(t, f.ok(t, "host", "drain", host, "--yes"), "serves nothing")
	f.ok(t, "host", "remove", host, "--yes")
	f.fails(t, 1, "NO_SUCH_HOST", "host", "get", host)
	r := f.fails(t, 1, "stays on "+after.GetActiveHost(), "host", "drain", after.GetActiveHost(), "--yes")
	says(t, r.out, "moving", "STRATEGY_UNAVAILABLE")
}

func TestABackupFromTheCommandLine(t *testing.T) {
	t.Parallel()
	f := blueGreens(t)
	path := filepath.Join(t.TempDir(), "store.db")
	var header cv1.BackupHeader
	if err := protojson.Unmarshal([]byte(f.ok(t, "backup", path, "-o", "json")), &header); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != header.GetSizeBytes() || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %+v, %v; the header says %v", info, err, &header)
	}
	f.fails(t, 1, "exists already", "backup", path)
}
