package tdx

// Sizes in bytes, from the DCAP quote format (A.3 for version 4, A.4 for
// version 5) and, for the QE report, the SGX REPORT body.
const (
	headerSize     = 48
	bodySize10     = 584 // TD report of TDX module 1.0
	bodySize15     = 648 // TD report of TDX module 1.5
	descriptorSize = 6   // body type and size, version 5 only
	signatureSize  = 64  // ECDSA P-256, r || s
	keySize        = 64  // ECDSA P-256 public key, x || y
	qeReportSize   = 384

	// maxQuoteSize bounds a quote: real ones are about 5 KiB, the kernel's
	// quote buffer is 16 KiB at most.
	maxQuoteSize = 16 << 10
	maxAuthSize  = 1 << 10
	maxChainSize = 12 << 10
)

// Values of the header and of certification data, from the same appendices.
const (
	attestationKeyECDSAP256 = 2
	teeTypeTDX              = 0x81

	bodyTypeTD10 = 2
	bodyTypeTD15 = 3

	certTypePCKChain = 5 // PEM: PCK leaf, intermediate, root
	certTypeQEReport = 6 // QE report, its signature, auth data, nested data
)

// Quote is a parsed TDX quote. Its slices share the parsed bytes.
type Quote struct {
	Header Header
	Body   Body
	// Signed are the header, the body's descriptor (version 5) and the body:
	// what the attestation key signs.
	Signed []byte
	// Signature is the attestation key's, r || s.
	Signature []byte
	// AttestationKey is an ECDSA P-256 public key, x || y.
	AttestationKey []byte
	QEReport       QEReport
	// QEReportRaw are the 384 bytes that the PCK key signs.
	QEReportRaw []byte
	// QEReportSignature is the PCK key's, r || s.
	QEReportSignature []byte
	// QEAuthData is hashed together with the attestation key into the QE report.
	QEAuthData []byte
	// PCKChain is the PEM text of the PCK certificate chain.
	PCKChain []byte
	// Trailing counts the bytes after the signed data. They are neither
	// authenticated nor used.
	Trailing int

	// certification are attestation key, QE report and chain as they stand in
	// the quote: the same for every quote of one platform until it restarts.
	certification []byte
}

// Header is a quote's header, integers little-endian.
type Header struct {
	Version            uint16 // 4 or 5
	AttestationKeyType uint16 // 2: ECDSA P-256
	TEEType            uint32 // 0x81: TDX
	QEVendorID         [16]byte
	UserData           [20]byte
}

// Body is what a TD report says of a TD and of the module beneath it. The last
// two fields exist only in reports of TDX module 1.5, where Type is 3.
type Body struct {
	Type           uint16 // 2: TD report 1.0, 3: TD report 1.5
	TEETCBSVN      [16]byte
	MRSEAM         [48]byte
	MRSignerSEAM   [48]byte
	SEAMAttributes [8]byte
	TDAttributes   [8]byte
	XFAM           [8]byte
	MRTD           [48]byte
	MRConfigID     [48]byte
	MROwner        [48]byte
	MROwnerConfig  [48]byte
	RTMR           [4][48]byte
	ReportData     [64]byte
	TEETCBSVN2     [16]byte
	MRServiceTD    [48]byte
}

// QEReport is the SGX report of the quoting enclave, integers little-endian.
type QEReport struct {
	CPUSVN     [16]byte
	MiscSelect [4]byte
	Attributes [16]byte
	MREnclave  [32]byte
	MRSigner   [32]byte
	ISVProdID  uint16
	ISVSVN     uint16
	ReportData [64]byte
}
