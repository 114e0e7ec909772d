package ledger

import (
	"context"
	"fmt"

	"github.com/casemate-dev/casemate/pkg/gpu"
)

// Quarantine keeps a card from being claimed until Unquarantine, through
// restarts and reboots. A claim that holds the card keeps it.
func (l *Ledger) Quarantine(ctx context.Context, card gpu.BDF, why string) error {
	return l.change(ctx, fmt.Sprintf("quarantine card %s", card), func(s state) error {
		if canonical, err := gpu.ParseBDF(string(card)); err != nil || canonical != card {
			return fmt.Errorf("%w: %q is no canonical PCI address", ErrRequest, card)
		}
		s.quarantine[card] = quarantine{BDF: card, Why: bounded(why), Since: l.now().UTC().Round(0)}
		return nil
	})
}

// Unquarantine lets a card be claimed again: an operator's word, or that of a
// clean reset. A card that isn't in quarantine gives ErrNotFound.
func (l *Ledger) Unquarantine(ctx context.Context, card gpu.BDF) error {
	return l.change(ctx, fmt.Sprintf("end quarantine of card %s", card), func(s state) error {
		if _, ok := s.quarantine[card]; !ok {
			return fmt.Errorf("%w: the card is not in quarantine", ErrNotFound)
		}
		delete(s.quarantine, card)
		return nil
	})
}

// bounded cuts a text from outside to what the file may hold, as valid UTF-8.
func bounded(text string) string {
	runes := []rune(text[:min(len(text), 4*maxText)])
	return string(runes[:min(len(runes), maxText)])
}
