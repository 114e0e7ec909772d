package tsmtest_test

import (
	"bytes"
	"errors"
	"syscall"
	"testing"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/report"

	"github.com/casemate-dev/casemate/internal/guest/tsm/tsmtest"
)

func kernel() (*tsmtest.Kernel, *int) {
	asked := 0
	return tsmtest.New("sev_guest", func(data [64]byte) ([]byte, []byte, error) {
		asked++
		return append([]byte("report over "), data[:3]...), []byte("aux"), nil
	}), &asked
}

func TestTheLibraryFindsWhatItExpects(t *testing.T) {
	k, asked := kernel()
	answer, err := report.Get(k, &report.Request{InBlob: []byte("abc"), GetAuxBlob: true, Privilege: &report.Privilege{Level: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if string(answer.OutBlob) != "report over abc" || string(answer.AuxBlob) != "aux" || answer.Provider != "sev_guest\n" {
		t.Errorf("answer %+v", answer)
	}
	if *asked != 1 || k.Entries() != 0 {
		t.Errorf("the processor was asked %d times, %d entries are left, expected 1 and 0", *asked, k.Entries())
	}
}

func TestAnotherWriteIsAnotherGeneration(t *testing.T) {
	k, asked := kernel()
	mine, err := report.CreateOpenReport(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.WriteOption("inblob", []byte("abc")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := mine.ReadOption("outblob"); err != nil || !bytes.Equal(got, []byte("report over abc")) {
			t.Errorf("outblob %q, %v", got, err)
		}
	}
	if *asked != 1 {
		t.Errorf("the processor was asked %d times for one generation", *asked)
	}
	// Somebody else writes into the same entry.
	if err := k.WriteFile(configfsi.TsmPrefix+"/report/entry1/inblob", []byte("xyz")); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.ReadOption("outblob"); report.GetGenerationErr(err) == nil {
		t.Errorf("reading after somebody else's write: %v, expected the generation to tell", err)
	}
}

func TestWhatTheKernelForbids(t *testing.T) {
	k, _ := kernel()
	entry, err := k.MkdirTemp(configfsi.TsmPrefix+"/report", "entry")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) error { _, err := k.ReadFile(name); return err }
	for name, c := range map[string]struct{ err, want error }{
		"a report over nothing":      {read(entry + "/outblob"), syscall.EINVAL},
		"65 bytes":                   {k.WriteFile(entry+"/inblob", make([]byte, 65)), syscall.EINVAL},
		"no bytes":                   {k.WriteFile(entry+"/inblob", nil), syscall.EINVAL},
		"a level that there isn't":   {k.WriteFile(entry+"/privlevel", []byte("4")), syscall.EINVAL},
		"writing what is read":       {k.WriteFile(entry+"/outblob", []byte("x")), syscall.EACCES},
		"reading what is written":    {read(entry + "/inblob"), syscall.EACCES},
		"an entry that isn't there":  {read(configfsi.TsmPrefix + "/report/other/outblob"), syscall.ENOENT},
		"removing one that is gone":  {k.RemoveAll(configfsi.TsmPrefix + "/report/other"), syscall.ENOENT},
		"a folder somewhere else":    {func() error { _, err := k.MkdirTemp("/tmp", "entry"); return err }(), syscall.EPERM},
		"listing":                    {func() error { _, err := k.ReadDir(entry); return err }(), syscall.ENOTSUP},
		"the floor of levels is one": {read(entry + "/privlevel_floor"), nil},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: error %v, expected %v", name, c.err, c.want)
		}
	}
}
