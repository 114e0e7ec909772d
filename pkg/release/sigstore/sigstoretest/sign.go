package sigstoretest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strconv"
	"time"

	"github.com/casemate-dev/casemate/pkg/release/sigstore"
)

// Flaw is what a bundle is given that it should not have. The rest of it is good.
type Flaw int

// The flaws.
const (
	// None makes a good bundle.
	None Flaw = iota
	// Expired: it was logged after the certificate had expired.
	Expired
	// NotLogged: it has no entry in the transparency log.
	NotLogged
	// NoCertificateTimestamp: no certificate transparency log has seen the certificate.
	NoCertificateTimestamp
	// OtherCertificateTimestamp: a log has seen another certificate.
	OtherCertificateTimestamp
	// NoPromise: the log's word for the time is another entry's.
	NoPromise
	// OtherTree: the entry lies in a tree that the log didn't sign.
	OtherTree
)

// Sign makes a bundle over an artifact, as cosign sign-blob --bundle does for who
// has shown an identity token.
func (s *Sigstore) Sign(artifact []byte, who sigstore.Identity, flaw Flaw) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	leaf, err := s.issue(key, who, flaw)
	if err != nil {
		return nil, err
	}
	signature, err := signed(key, artifact)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	digest := sha256.Sum256(artifact)
	b := bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: material{Certificate: rawBytes{leaf}},
		MessageSignature:     messageSignature{messageDigest{"SHA2_256", digest[:]}, signature},
	}
	if flaw != NotLogged {
		at := s.at.Add(time.Minute)
		if flaw == Expired {
			at = s.at.Add(2 * leafLife)
		}
		entry, err := s.entry(digest[:], signature, leaf, at, flaw)
		if err != nil {
			return nil, err
		}
		b.VerificationMaterial.TLogEntries = []logEntry{entry}
	}
	return encode(b)
}

// hashedRekord is an entry of Rekor's, canonical: members sorted, no spaces.
type hashedRekord struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Data struct {
			Hash struct {
				Algorithm string `json:"algorithm"`
				Value     string `json:"value"`
			} `json:"hash"`
		} `json:"data"`
		Signature struct {
			Content   []byte `json:"content"`
			PublicKey struct {
				Content []byte `json:"content"`
			} `json:"publicKey"`
		} `json:"signature"`
	} `json:"spec"`
}

// entry puts a signature into a log that holds nothing else.
func (s *Sigstore) entry(digest, signature, leaf []byte, at time.Time, flaw Flaw) (logEntry, error) {
	body := hashedRekord{APIVersion: "0.0.1", Kind: "hashedrekord"}
	body.Spec.Data.Hash.Algorithm, body.Spec.Data.Hash.Value = "sha256", hex.EncodeToString(digest)
	body.Spec.Signature.Content = signature
	body.Spec.Signature.PublicKey.Content = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	text, err := json.Marshal(body)
	if err != nil {
		return logEntry{}, fmt.Errorf("encode the log's entry: %w", err)
	}
	id, _, err := logID(&s.log.PublicKey)
	if err != nil {
		return logEntry{}, err
	}
	set, err := s.promise(text, id, at, flaw)
	if err != nil {
		return logEntry{}, err
	}
	proof, err := s.proof(text, id, flaw)
	if err != nil {
		return logEntry{}, err
	}
	return logEntry{
		LogIndex: "0", LogID: keyID{id}, KindVersion: kind{"hashedrekord", "0.0.1"},
		IntegratedTime: strconv.FormatInt(at.Unix(), 10), InclusionPromise: promise{set}, InclusionProof: proof,
		CanonicalizedBody: text,
	}, nil
}

// promise is the log's word that it took an entry at a time (Rekor's signed entry
// timestamp: over canonical JSON).
func (s *Sigstore) promise(body, id []byte, at time.Time, flaw Flaw) ([]byte, error) {
	if flaw == NoPromise {
		at = at.Add(time.Second)
	}
	text, err := json.Marshal(struct {
		Body           []byte `json:"body"`
		IntegratedTime int64  `json:"integratedTime"`
		LogID          string `json:"logID"`
		LogIndex       int64  `json:"logIndex"`
	}{body, at.Unix(), hex.EncodeToString(id), 0})
	if err != nil {
		return nil, fmt.Errorf("encode the log's promise: %w", err)
	}
	return signed(s.log, text)
}

// proof shows that a tree of one leaf holds the body, and the log's word for the
// tree: a signed note (RFC 6962, 2.1; C2SP's signed-note and checkpoint).
func (s *Sigstore) proof(body, id []byte, flaw Flaw) (inclusionProof, error) {
	root := sha256.Sum256(append([]byte{0}, body...))
	told := root
	if flaw == OtherTree {
		told[0] ^= 1
	}
	note := fmt.Sprintf("rekor.test - 1\n1\n%s\n", base64.StdEncoding.EncodeToString(told[:]))
	signature, err := signed(s.log, []byte(note))
	if err != nil {
		return inclusionProof{}, fmt.Errorf("sign the tree: %w", err)
	}
	line := fmt.Sprintf("\n— rekor.test %s\n", base64.StdEncoding.EncodeToString(append(append([]byte(nil), id[:4]...), signature...)))
	return inclusionProof{
		LogIndex: "0", TreeSize: "1", RootHash: root[:], Hashes: [][]byte{}, Checkpoint: checkpoint{note + line},
	}, nil
}

// parse gives the parts of a certificate that was just made.
func parse(der []byte, err error) (*x509.Certificate, error) {
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}
