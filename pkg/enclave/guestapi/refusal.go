package guestapi

import (
	"fmt"

	"github.com/casemate-dev/casemate/pkg/attest/evidence/strictjson"
)

// Refusal is the body of every answer of the guest itself that is no success.
type Refusal struct {
	// Status is the HTTP status; it is not part of the body.
	Status int `json:"-"`
	// Code is one of the codes above.
	Code string `json:"code"`
	// Stage is where the boot is, with CodeNotReady.
	Stage string `json:"stage"`
	// Text says what was the case and what to do.
	Text string `json:"text"`
}

// Error gives text, code and stage.
func (r *Refusal) Error() string {
	if r.Stage != "" {
		return fmt.Sprintf("the guest refused: %s (%s, stage %s)", r.Text, r.Code, r.Stage)
	}
	return fmt.Sprintf("the guest refused: %s (%s)", r.Text, r.Code)
}

// ParseRefusal reads the body of an answer with this HTTP status. What can't be
// read becomes a refusal without a code.
func ParseRefusal(status int, raw []byte) *Refusal {
	r := &Refusal{Status: status}
	err := strictjson.Object(raw, MaxRefusal, strictjson.Fields{
		"code":  strictjson.String(&r.Code, 64),
		"stage": strictjson.String(&r.Stage, maxName),
		"text":  strictjson.String(&r.Text, 4<<10),
	}, "code", "text")
	if err != nil {
		return &Refusal{Status: status, Text: fmt.Sprintf("HTTP status %d without a reason", status)}
	}
	r.Code, r.Stage, r.Text = printable(r.Code), printable(r.Stage), printable(r.Text)
	return r
}
