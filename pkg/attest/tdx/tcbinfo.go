package tdx

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Bounds on lists within TCB info and QE identity, far above Intel's.
const maxLevels, maxModules, maxAdvisories = 256, 64, 256

// tcbInfo is Intel's word on one FMSPC: TCB levels and TDX modules ("TCB Info"
// of version 3, id TDX, PCS API v4).
type tcbInfo struct {
	window     window // issueDate to nextUpdate
	evaluation uint32 // tcbEvaluationDataNumber
	fmspc      [6]byte
	pceid      [2]byte
	module     moduleIdentity // of modules with version 0
	modules    []moduleIdentity
	levels     []tcbLevel // as Intel sorts them, the newest first
}

// moduleIdentity says what a TDX module of one version must look like.
type moduleIdentity struct {
	id               string // "TDX_01" for version 1; empty for version 0
	mrSigner         [48]byte
	attributes, mask [8]byte
	levels           []tcbLevel
}

// tcbLevel is one level of a platform (components and pcesvn), of a module or of
// a quoting enclave (isvsvn).
type tcbLevel struct {
	sgx, tdx   [16]byte
	pcesvn     uint16
	isvsvn     uint16
	date       time.Time
	status     Status
	advisories []string
}

type wireTCBInfo struct {
	ID         string       `json:"id"`
	Version    int          `json:"version"`
	IssueDate  time.Time    `json:"issueDate"`
	NextUpdate time.Time    `json:"nextUpdate"`
	FMSPC      string       `json:"fmspc"`
	PCEID      string       `json:"pceId"`
	TCBType    int          `json:"tcbType"`
	Evaluation uint32       `json:"tcbEvaluationDataNumber"`
	Module     *wireModule  `json:"tdxModule"`
	Modules    []wireModule `json:"tdxModuleIdentities"`
	Levels     []wireLevel  `json:"tcbLevels"`
}

type wireModule struct {
	ID         string      `json:"id"`
	MRSigner   string      `json:"mrsigner"`
	Attributes string      `json:"attributes"`
	Mask       string      `json:"attributesMask"`
	Levels     []wireLevel `json:"tcbLevels"`
}

type wireLevel struct {
	TCB struct {
		SGX    []wireComponent `json:"sgxtcbcomponents"`
		TDX    []wireComponent `json:"tdxtcbcomponents"`
		PCESVN uint16          `json:"pcesvn"`
		ISVSVN uint16          `json:"isvsvn"`
	} `json:"tcb"`
	Date       time.Time `json:"tcbDate"`
	Status     Status    `json:"tcbStatus"`
	Advisories []string  `json:"advisoryIDs"`
}

type wireComponent struct {
	SVN uint8 `json:"svn"`
}

// parseTCBInfo reads the signed body of a TCB info.
func parseTCBInfo(body []byte) (*tcbInfo, error) {
	var w wireTCBInfo
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("read TCB info: %w", err)
	}
	if w.ID != "TDX" || w.Version != 3 || w.TCBType != 0 {
		return nil, fmt.Errorf("TCB info has id %q, version %d, type %d; expected TDX, 3, 0", w.ID, w.Version, w.TCBType)
	}
	if len(w.Levels) == 0 || w.Module == nil || len(w.Modules) > maxModules {
		return nil, fmt.Errorf("TCB info has no TCB levels, no TDX module or more than %d modules", maxModules)
	}
	t := &tcbInfo{window: window{w.IssueDate, w.NextUpdate}, evaluation: w.Evaluation}
	err := firstError(
		fixedHex(t.fmspc[:], w.FMSPC, "fmspc"),
		fixedHex(t.pceid[:], w.PCEID, "pceId"),
		t.module.set(*w.Module),
	)
	if err != nil {
		return nil, fmt.Errorf("read TCB info: %w", err)
	}
	t.modules = make([]moduleIdentity, len(w.Modules))
	for i, m := range w.Modules {
		if err := t.modules[i].set(m); err != nil {
			return nil, fmt.Errorf("read TCB info: TDX module %q: %w", m.ID, err)
		}
	}
	if t.levels, err = platformLevels(w.Levels); err != nil {
		return nil, fmt.Errorf("read TCB info: %w", err)
	}
	return t, nil
}

func (m *moduleIdentity) set(w wireModule) error {
	m.id = w.ID
	err := firstError(
		fixedHex(m.mrSigner[:], w.MRSigner, "mrsigner"),
		fixedHex(m.attributes[:], w.Attributes, "attributes"),
		fixedHex(m.mask[:], w.Mask, "attributesMask"),
	)
	if err != nil {
		return err
	}
	m.levels, err = readLevels(w.Levels)
	return err
}

// platformLevels reads levels that must have all 16 components of both kinds.
func platformLevels(wire []wireLevel) ([]tcbLevel, error) {
	levels, err := readLevels(wire)
	if err != nil {
		return nil, err
	}
	for i, w := range wire {
		if len(w.TCB.SGX) != 16 || len(w.TCB.TDX) != 16 {
			return nil, fmt.Errorf("TCB level %d has %d SGX and %d TDX components, expected 16", i, len(w.TCB.SGX), len(w.TCB.TDX))
		}
		for j := range 16 {
			levels[i].sgx[j], levels[i].tdx[j] = w.TCB.SGX[j].SVN, w.TCB.TDX[j].SVN
		}
	}
	return levels, nil
}

func readLevels(wire []wireLevel) ([]tcbLevel, error) {
	if len(wire) > maxLevels {
		return nil, fmt.Errorf("%d TCB levels, at most %d are read", len(wire), maxLevels)
	}
	levels := make([]tcbLevel, len(wire))
	for i, w := range wire {
		if w.Status == "" || len(w.Advisories) > maxAdvisories {
			return nil, fmt.Errorf("TCB level %d has no status or more than %d advisories", i, maxAdvisories)
		}
		levels[i] = tcbLevel{pcesvn: w.TCB.PCESVN, isvsvn: w.TCB.ISVSVN, date: w.Date, status: w.Status, advisories: w.Advisories}
	}
	return levels, nil
}

// fixedHex reads hexadecimal digits of either case into dst, which they must fill.
func fixedHex(dst []byte, text, what string) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("%s has %d characters, expected %d", what, len(text), 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(text)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
