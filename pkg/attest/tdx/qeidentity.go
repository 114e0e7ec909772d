package tdx

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// intelQEMRSigner is the MRSIGNER of Intel's quoting enclaves, and
// intelTDQEProdID the ISVPRODID of the TD quoting enclave, as in every QE
// identity the PCS has published. Without collateral they stand in for it.
const (
	intelQEMRSigner = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
	intelTDQEProdID = 2
)

// sgxAttributeDebug is bit 1 of an enclave's attributes.
const sgxAttributeDebug = 0x02

// qeIdentity is what Intel's TD quoting enclave must look like ("Enclave
// Identity" of version 2, id TD_QE, PCS API v4).
type qeIdentity struct {
	window           window
	evaluation       uint32
	misc, miscMask   [4]byte
	attributes, mask [16]byte
	mrSigner         [32]byte
	prodID           uint16
	levels           []tcbLevel
}

type wireQEIdentity struct {
	wireTCBInfo
	Misc       string `json:"miscselect"`
	MiscMask   string `json:"miscselectMask"`
	Attributes string `json:"attributes"`
	Mask       string `json:"attributesMask"`
	MRSigner   string `json:"mrsigner"`
	ProdID     uint16 `json:"isvprodid"`
}

// parseQEIdentity reads the signed body of a QE identity.
func parseQEIdentity(body []byte) (*qeIdentity, error) {
	var w wireQEIdentity
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("read QE identity: %w", err)
	}
	if w.ID != "TD_QE" || w.Version != 2 {
		return nil, fmt.Errorf("QE identity has id %q, version %d; expected TD_QE, 2", w.ID, w.Version)
	}
	q := &qeIdentity{window: window{w.IssueDate, w.NextUpdate}, evaluation: w.Evaluation, prodID: w.ProdID}
	err := firstError(
		fixedHex(q.misc[:], w.Misc, "miscselect"),
		fixedHex(q.miscMask[:], w.MiscMask, "miscselectMask"),
		fixedHex(q.attributes[:], w.Attributes, "attributes"),
		fixedHex(q.mask[:], w.Mask, "attributesMask"),
		fixedHex(q.mrSigner[:], w.MRSigner, "mrsigner"),
	)
	if err == nil {
		q.levels, err = readLevels(w.Levels)
	}
	if err == nil && len(q.levels) == 0 {
		err = errors.New("it has no TCB levels")
	}
	if err != nil {
		return nil, fmt.Errorf("read QE identity: %w", err)
	}
	return q, nil
}

// check compares a QE report with the identity, all but its SVN.
func (q *qeIdentity) check(r *QEReport) error {
	switch {
	case r.MRSigner != q.mrSigner:
		return fmt.Errorf("the quoting enclave was signed by %x, expected %x", r.MRSigner, q.mrSigner)
	case r.ISVProdID != q.prodID:
		return fmt.Errorf("the quoting enclave is product %d, expected %d", r.ISVProdID, q.prodID)
	case !maskedEqual(r.MiscSelect[:], q.misc[:], q.miscMask[:]):
		return fmt.Errorf("the quoting enclave's MISCSELECT is %x, expected %x under mask %x", r.MiscSelect, q.misc, q.miscMask)
	case !maskedEqual(r.Attributes[:], q.attributes[:], q.mask[:]):
		return fmt.Errorf("the quoting enclave's attributes are %x, expected %x under mask %x", r.Attributes, q.attributes, q.mask)
	}
	return checkQEDebug(r)
}

// checkQEDebug refuses a debuggable quoting enclave, whatever else is known.
func checkQEDebug(r *QEReport) error {
	if r.Attributes[0]&sgxAttributeDebug != 0 {
		return errors.New("the quoting enclave is in debug mode")
	}
	return nil
}

// checkIntelQE compares a QE report with what is known of Intel's TD quoting
// enclave without collateral.
func checkIntelQE(r *QEReport) error {
	if got := hex.EncodeToString(r.MRSigner[:]); got != intelQEMRSigner || r.ISVProdID != intelTDQEProdID {
		return fmt.Errorf("the quoting enclave is product %d signed by %s, expected Intel's: product %d signed by %s",
			r.ISVProdID, got, intelTDQEProdID, intelQEMRSigner)
	}
	return checkQEDebug(r)
}

func maskedEqual(got, want, mask []byte) bool {
	var diff byte
	for i := range got {
		diff |= (got[i] ^ want[i]) & mask[i]
	}
	return diff == 0
}
