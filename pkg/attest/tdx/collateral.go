package tdx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Collateral is what Intel publishes to judge a quote's platform: what the PCS
// sends, unchanged. Nothing in it is trusted before it was verified.
type Collateral struct {
	// TCBInfo and QEIdentity are the bodies of the PCS's answers for TDX:
	// {"tcbInfo":{…},"signature":"…"} and {"enclaveIdentity":{…},"signature":"…"}.
	TCBInfo, QEIdentity []byte
	// PCKCRL and RootCRL are revocation lists, DER or PEM.
	PCKCRL, RootCRL []byte
	// TCBInfoChain, QEIdentityChain and PCKCRLChain are the issuer chains in PEM,
	// from the headers of the answers: issuer, then root. Without TCBInfoChain
	// that of the QE identity is tried, and the reverse: one certificate signs
	// both; without either, under Intel's root, the signing certificate known
	// here. Without PCKCRLChain the CA of the quote's PCK chain must have
	// signed the list, as it must have anyhow.
	TCBInfoChain, QEIdentityChain, PCKCRLChain []byte
}

// collateralFiles names the files of a collateral folder.
func (c *Collateral) files() []collateralFile {
	return []collateralFile{
		{"tcb_info.json", &c.TCBInfo, maxDocumentSize},
		{"qe_identity.json", &c.QEIdentity, maxDocumentSize},
		{"pck.crl", &c.PCKCRL, maxCRLSize},
		{"root.crl", &c.RootCRL, maxCRLSize},
		{"tcb_info_chain.pem", &c.TCBInfoChain, maxChainSize},
		{"qe_identity_chain.pem", &c.QEIdentityChain, maxChainSize},
		{"pck_crl_chain.pem", &c.PCKCRLChain, maxChainSize},
	}
}

type collateralFile struct {
	name string
	dst  *[]byte
	most int64
}

// missing names the required parts that are not there.
func (c *Collateral) missing() []string {
	if c == nil {
		c = &Collateral{}
	}
	var out []string
	for _, f := range c.files()[:4] {
		if len(*f.dst) == 0 {
			out = append(out, f.name)
		}
	}
	return out
}

// LoadCollateral reads collateral from a folder with the files tcb_info.json,
// qe_identity.json, pck.crl, root.crl and, optional, tcb_info_chain.pem,
// qe_identity_chain.pem and pck_crl_chain.pem. A file that is not there is left
// empty, for the verdict to say so by name; a folder with none of them, one that
// can't be read, and a file above its size limit are errors.
func LoadCollateral(dir fs.FS) (*Collateral, error) {
	c := &Collateral{}
	found := 0
	for _, f := range c.files() {
		in, err := readBounded(dir, f.name, f.most)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read collateral: %w", err)
		}
		*f.dst = in
		found++
	}
	if found == 0 {
		return nil, errors.New("read collateral: the folder has none of tcb_info.json, qe_identity.json, pck.crl, root.crl")
	}
	return c, nil
}

func readBounded(dir fs.FS, name string, most int64) ([]byte, error) {
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(in)) > most {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return in, nil
}
