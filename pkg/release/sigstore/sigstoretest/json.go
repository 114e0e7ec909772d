package sigstoretest

import (
	"encoding/json"
	"fmt"
)

// The JSON forms of sigstore/protobuf-specs, version 0.5: trusted roots and bundles.
type (
	trustedRoot struct {
		MediaType              string            `json:"mediaType"`
		TLogs                  []transparencyLog `json:"tlogs"`
		CertificateAuthorities []authority       `json:"certificateAuthorities"`
		CTLogs                 []transparencyLog `json:"ctlogs"`
	}
	transparencyLog struct {
		BaseURL       string    `json:"baseUrl"`
		HashAlgorithm string    `json:"hashAlgorithm"`
		PublicKey     publicKey `json:"publicKey"`
		LogID         keyID     `json:"logId"`
	}
	publicKey struct {
		RawBytes   []byte `json:"rawBytes"`
		KeyDetails string `json:"keyDetails"`
		ValidFor   period `json:"validFor"`
	}
	period struct {
		Start string `json:"start"`
	}
	keyID struct {
		KeyID []byte `json:"keyId"`
	}
	authority struct {
		Subject   subject `json:"subject"`
		URI       string  `json:"uri"`
		CertChain chain   `json:"certChain"`
		ValidFor  period  `json:"validFor"`
	}
	subject struct {
		Organization string `json:"organization"`
		CommonName   string `json:"commonName"`
	}
	chain struct {
		Certificates []rawBytes `json:"certificates"`
	}
	rawBytes struct {
		RawBytes []byte `json:"rawBytes"`
	}
	bundle struct {
		MediaType            string           `json:"mediaType"`
		VerificationMaterial material         `json:"verificationMaterial"`
		MessageSignature     messageSignature `json:"messageSignature"`
	}
	material struct {
		Certificate rawBytes   `json:"certificate"`
		TLogEntries []logEntry `json:"tlogEntries,omitempty"`
	}
	logEntry struct {
		LogIndex          string         `json:"logIndex"`
		LogID             keyID          `json:"logId"`
		KindVersion       kind           `json:"kindVersion"`
		IntegratedTime    string         `json:"integratedTime"`
		InclusionPromise  promise        `json:"inclusionPromise"`
		InclusionProof    inclusionProof `json:"inclusionProof"`
		CanonicalizedBody []byte         `json:"canonicalizedBody"`
	}
	kind struct {
		Kind    string `json:"kind"`
		Version string `json:"version"`
	}
	promise struct {
		SignedEntryTimestamp []byte `json:"signedEntryTimestamp"`
	}
	inclusionProof struct {
		LogIndex   string     `json:"logIndex"`
		RootHash   []byte     `json:"rootHash"`
		TreeSize   string     `json:"treeSize"`
		Hashes     [][]byte   `json:"hashes"`
		Checkpoint checkpoint `json:"checkpoint"`
	}
	checkpoint struct {
		Envelope string `json:"envelope"`
	}
	messageSignature struct {
		MessageDigest messageDigest `json:"messageDigest"`
		Signature     []byte        `json:"signature"`
	}
	messageDigest struct {
		Algorithm string `json:"algorithm"`
		Digest    []byte `json:"digest"`
	}
)

func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return text, nil
}
