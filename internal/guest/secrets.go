package guest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/casemate-dev/casemate/pkg/enclave/guestapi"
	"github.com/casemate-dev/casemate/pkg/enclave/secretmsg"
)

// vault takes the secrets, once.
type vault struct {
	key    ed25519.PublicKey
	digest [32]byte // of the TLS key: a message names it
	nonces *nonceLog

	mu        sync.Mutex
	opened    bool
	wanted    []string // sorted
	taken     bool
	delivered chan map[string][]byte // capacity 1
}

func newVault(key ed25519.PublicKey, tlsKeyDigest [32]byte, nonces *nonceLog) *vault {
	return &vault{key: key, digest: tlsKeyDigest, nonces: nonces, delivered: make(chan map[string][]byte, 1)}
}

// open says which names are wanted; before that nothing is taken.
func (v *vault) open(wanted []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.opened, v.wanted = true, wanted
}

// wait returns the secrets once they were delivered.
func (v *vault) wait(ctx context.Context) (map[string][]byte, error) {
	select {
	case secrets := <-v.delivered:
		return secrets, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// deliver takes a signed message, or says why not. A message that is refused
// changes nothing: a right one may follow.
func (v *vault) deliver(raw []byte) *guestapi.Refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.opened {
		return refuse(http.StatusServiceUnavailable, guestapi.CodeNotReady, "the config is not checked yet: try again")
	}
	m, err := secretmsg.Open(raw, v.key)
	switch {
	case errors.Is(err, secretmsg.ErrSignature):
		return refuse(http.StatusForbidden, guestapi.CodeSecretsUnsigned, "the message is not signed by the key of this enclave's platform part")
	case err != nil:
		return refuse(http.StatusBadRequest, guestapi.CodeInvalid, err.Error())
	case m.TLSKeyDigest != v.digest:
		return refuse(http.StatusForbidden, guestapi.CodeSecretsForeign, "the message is for an enclave with another TLS key")
	case !v.nonces.has(m.Nonce):
		return refuse(http.StatusForbidden, guestapi.CodeSecretsForeign, "the message names a nonce for which this enclave gave no evidence: ask for evidence first")
	case len(v.wanted) == 0:
		return refuse(http.StatusConflict, guestapi.CodeSecretsTaken, "this enclave's config declares no secrets")
	case v.taken:
		return refuse(http.StatusConflict, guestapi.CodeSecretsTaken, "secrets were delivered already; new values need a new enclave")
	}
	if refusal := v.checkNames(m); refusal != nil {
		return refusal
	}
	v.taken = true
	v.delivered <- m.Secrets
	return nil
}

func (v *vault) checkNames(m *secretmsg.Message) *guestapi.Refusal {
	got := slices.Sorted(maps.Keys(m.Secrets))
	for _, name := range got {
		if !slices.Contains(v.wanted, name) {
			return refuse(http.StatusBadRequest, guestapi.CodeSecretsUndeclared, fmt.Sprintf("secret %s is not declared by the config", name))
		}
	}
	for _, name := range v.wanted {
		if _, ok := m.Secrets[name]; !ok {
			return refuse(http.StatusBadRequest, guestapi.CodeSecretsUndeclared, fmt.Sprintf("secret %s is missing; all are delivered at once", name))
		}
	}
	return nil
}

func refuse(status int, code, text string) *guestapi.Refusal {
	return &guestapi.Refusal{Status: status, Code: code, Text: text}
}

// maxNonces is how many attestations a delivery may lie back.
const maxNonces = 1024

// nonceLog remembers the last nonces for which evidence was given.
type nonceLog struct {
	mu   sync.Mutex
	ring [][32]byte
	next int
	at   map[[32]byte]int // how often it stands in the ring
}

func newNonceLog() *nonceLog { return &nonceLog{at: map[[32]byte]int{}} }

func (n *nonceLog) add(nonce [32]byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at[nonce]++
	if len(n.ring) < maxNonces {
		n.ring = append(n.ring, nonce)
		return
	}
	oldest := n.ring[n.next]
	if n.at[oldest]--; n.at[oldest] == 0 {
		delete(n.at, oldest)
	}
	n.ring[n.next] = nonce
	n.next = (n.next + 1) % maxNonces
}

func (n *nonceLog) has(nonce [32]byte) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.at[nonce] > 0
}
