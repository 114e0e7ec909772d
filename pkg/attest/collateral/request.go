package collateral

import (
	"context"
	"crypto/x509"
	"errors"
	"time"
)

// Kind is what a document is.
type Kind string

// The kinds of documents.
const (
	AMDCertificate  Kind = "amd_vcek"
	AMDChain        Kind = "amd_chain"
	AMDCRL          Kind = "amd_crl"
	IntelTCBInfo    Kind = "intel_tcb_info"
	IntelQEIdentity Kind = "intel_qe_identity"
	IntelPCKCRL     Kind = "intel_pck_crl"
	IntelRootCRL    Kind = "intel_root_crl"
	NVIDIARIM       Kind = "nvidia_rim"
	NVIDIAOCSP      Kind = "nvidia_ocsp"
)

// Service is where a document comes from; its address is configuration.
type Service string

// The services.
const (
	AMDKDS      Service = "amd_kds"
	IntelPCS    Service = "intel_pcs"
	IntelRoots  Service = "intel_roots"
	NVIDIARIMs  Service = "nvidia_rim"
	NVIDIAOCSPs Service = "nvidia_ocsp"
)

// Errors that callers tell apart.
var (
	// ErrNotConfigured: no address is configured for the service, so it is not asked.
	ErrNotConfigured = errors.New("no address is configured for the service")
	// ErrNotFound: the service has no such document. Asking again is of no use.
	ErrNotFound = errors.New("the service has no such document")
	// ErrContent: what came is not what was asked for.
	ErrContent = errors.New("not the document that was asked for")
	// ErrOffline: the document is not in the cache and nothing may be fetched.
	ErrOffline = errors.New("not in the cache, and the cache is offline")
	// ErrStale: the document in the cache ended longer ago than is allowed.
	ErrStale = errors.New("the document in the cache ended too long ago")
)

// Request names one document. The constructors fill it; a Request made otherwise
// is refused by HTTP and Cache unless it obeys the same rules.
type Request struct {
	Kind    Kind
	Service Service
	// Path is what follows the service's address, with its query.
	Path string
	// Body is what is posted; nil means GET.
	Body []byte
	// File is the document's place in a cache: a relative path with slashes.
	File string

	// id is what the content has to name: an FMSPC, a RIM's id.
	id string
	// subject is the certificate that an OCSP response has to speak of.
	subject *x509.Certificate
}

// Document is what came.
type Document struct {
	// Body is the document in the verifiers' form.
	Body []byte
	// Chain is the issuer chain, PEM, that Intel sends in a header; otherwise nil.
	Chain []byte
	// Expires is when the document ends by its own word; zero if it never does.
	Expires time.Time
	// Stale says that it has ended and is given all the same; Problem says why no
	// newer one could be had.
	Stale   bool
	Problem error
}

// Getter gets documents. An implementation is safe for concurrent use, obeys ctx,
// and returns documents that have been checked for being what was asked; whoever
// uses them verifies them. Errors wrap those of this package where they apply.
type Getter interface {
	Get(ctx context.Context, r Request) (*Document, error)
}

// maxSize bounds documents, in bytes; the largest real ones are a PCK CRL of some
// 200 KiB, and 30 KiB for all else.
func (k Kind) maxSize() int64 {
	switch k {
	case AMDCRL, IntelPCKCRL, IntelRootCRL:
		return 4 << 20
	case IntelTCBInfo, IntelQEIdentity, NVIDIARIM:
		return 256 << 10
	case NVIDIAOCSP:
		return 16 << 10
	}
	return 64 << 10
}

// chainHeader is the header with the issuer chain (PCS v4).
func (k Kind) chainHeader() string {
	switch k {
	case IntelTCBInfo:
		return "TCB-Info-Issuer-Chain"
	case IntelQEIdentity:
		return "SGX-Enclave-Identity-Issuer-Chain"
	case IntelPCKCRL:
		return "SGX-PCK-CRL-Issuer-Chain"
	}
	return ""
}

// chainFile is where a cache keeps the issuer chain: the name that the verifier
// looks for.
func (r Request) chainFile() string {
	if r.Kind.chainHeader() == "" {
		return ""
	}
	return chainName(r.File)
}
