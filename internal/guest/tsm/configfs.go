package tsm

import (
	"errors"
	"fmt"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/report"

	"github.com/casemate-dev/casemate/pkg/attest"
)

// openConfigfs asks the kernel whose reports it gives.
func openConfigfs(client configfsi.Client) (attest.Format, reader, error) {
	entry, err := report.CreateOpenReport(client)
	if err != nil {
		return "", nil, err
	}
	provider, err := entry.ReadOption("provider")
	if err := errors.Join(err, entry.Destroy()); err != nil {
		return "", nil, fmt.Errorf("ask for the provider: %w", err)
	}
	format, err := formatOf(string(provider))
	if err != nil {
		return "", nil, err
	}
	return format, func(data [64]byte) ([]byte, []byte, error) { return readConfigfs(client, format, data) }, nil
}

// readConfigfs makes an entry, has one report made and removes the entry. The
// library compares the generation, so that nobody else's request is mistaken for
// this one.
func readConfigfs(client configfsi.Client, format attest.Format, data [64]byte) ([]byte, []byte, error) {
	answer, err := report.Get(client, &report.Request{InBlob: data[:], GetAuxBlob: format == attest.FormatSEVSNP})
	if err != nil {
		return nil, nil, fmt.Errorf("configfs-tsm: %w", err)
	}
	if got, err := formatOf(answer.Provider); err != nil || got != format {
		return nil, nil, fmt.Errorf("configfs-tsm: the provider has changed to %.40q", answer.Provider)
	}
	return answer.OutBlob, answer.AuxBlob, nil
}
