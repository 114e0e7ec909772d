package attest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/casemate-dev/casemate/pkg/attest"
	"github.com/casemate-dev/casemate/pkg/attest/nvidia"
	"github.com/casemate-dev/casemate/pkg/attest/sevsnp"
	"github.com/casemate-dev/casemate/pkg/attest/tdx"
)

// say prints what came of it.
func say(err error) {
	var refused *attest.RefusedError
	switch {
	case err == nil:
		fmt.Println("accepted")
	case errors.As(err, &refused):
		fmt.Print("refused:")
		for _, check := range refused.Failed {
			fmt.Print(" ", check.Name)
		}
		fmt.Println()
	default:
		fmt.Println(err) // such as a policy that can't be read
	}
}

// verifySNP judges a report with the certificate of the key that signed it and AMD's
// revocation list, each DER or PEM.
func verifySNP(verifier *sevsnp.Verifier, report, vcek, crl, policyFile []byte) error {
	policy, err := sevsnp.ParsePolicy(policyFile)
	if err != nil {
		return err
	}
	evidence := sevsnp.Evidence{Report: report, VEK: vcek, CRL: crl}
	return verifier.Verify(evidence, policy, time.Now()).Err()
}

// A report of SEV-SNP. The files come from the guest (SNP_GET_REPORT) and from AMD's
// key service; here a simulated chip makes them.
func Example_sevSNP() {
	chip := simulatedChip()
	// Made once and kept. sevsnp.Config{} trusts AMD's own roots.
	verifier, err := sevsnp.NewVerifier(sevsnp.Config{Roots: chip.roots})
	if err != nil {
		panic(err)
	}
	policy := fmt.Appendf(nil, `
measurement: [%x]         # the launch digest of what should run
report_data: %x           # what the guest was to bind: your nonce, its key
host_data: any
chip_ids: any
minimum_tcb: {bootloader: 4, tee: 0, snp: 22, microcode: 213}
allow_smt: true
require_crl: true
allow_simulated: true     # for this example
`, chip.measurement, chip.reportData)
	say(verifySNP(verifier, chip.report, chip.vcek, chip.crl, policy))
	say(verifySNP(verifier, chip.otherReport, chip.vcek, chip.crl, policy))
	// Output:
	// accepted
	// refused: measurement
}

// verifyTDX judges a quote with what Intel publishes of its platform: a folder with
// tcb_info.json, qe_identity.json, pck.crl and root.crl.
func verifyTDX(verifier *tdx.Verifier, quote []byte, collateral fs.FS, policyFile []byte) error {
	policy, err := tdx.ParsePolicy(policyFile)
	if err != nil {
		return err
	}
	published, err := tdx.LoadCollateral(collateral)
	if err != nil {
		return err
	}
	return verifier.Verify(tdx.Evidence{Quote: quote}, published, policy, time.Now()).Err()
}

// A quote of TDX. The quote comes from the guest (configfs-tsm) and the folder from
// Intel's PCS; here a simulated platform makes them.
func Example_tdx() {
	platform := simulatedPlatform()
	// Made once and kept. tdx.Config{} trusts Intel's own root.
	verifier, err := tdx.NewVerifier(tdx.Config{Root: platform.root})
	if err != nil {
		panic(err)
	}
	policy := fmt.Appendf(nil, `
mr_td: %x                 # the firmware of what should run
rtmr0: any
rtmr1: [%x]               # its kernel
rtmr2: any
rtmr3: any
report_data: %x           # what the guest was to bind
mr_config_id: any
mr_owner: any
mr_owner_config: any
mr_seam: any
fmspc: any
ppid: any                 # the platforms that may run it
`, platform.mrtd, platform.rtmr1, platform.reportData)
	say(verifyTDX(verifier, platform.quote, platform.published, policy))
	say(verifyTDX(verifier, platform.otherQuote, platform.published, policy))
	// Output:
	// accepted
	// refused: rtmr1
}

// verifyNVIDIA judges the evidence of a host's GPUs, in the attestation SDK's JSON, with
// NVIDIA's reference measurements and what its OCSP responders say. The nonce is the one
// that the GPUs were asked with.
func verifyNVIDIA(verifier *nvidia.Verifier, document, nonce []byte, rims *nvidia.RIMSet, ocsp *nvidia.OCSPSet, policyFile []byte) error {
	policy, err := nvidia.ParsePolicy(policyFile)
	if err != nil {
		return err
	}
	evidence, err := nvidia.ParseEvidence(document)
	if err != nil {
		return err
	}
	return verifier.Verify(evidence, rims, ocsp, policy, nonce, time.Now()).Err()
}

// The evidence of a GPU. NVML gives it to whoever holds the GPU, RIMs and OCSP responses
// come from NVIDIA's services; here a simulated GPU makes them.
func Example_nvidia() {
	gpu := simulatedGPU()
	rims, err := nvidia.LoadRIMs(gpu.rims) // a folder with NV_GPU_DRIVER_….xml
	if err != nil {
		panic(err)
	}
	ocsp, err := nvidia.LoadOCSP(gpu.ocsp) // a folder with responses, *.der
	if err != nil {
		panic(err)
	}
	// Made once and kept. nvidia.Config{} trusts NVIDIA's own roots.
	verifier, err := nvidia.New(gpu.config)
	if err != nil {
		panic(err)
	}
	policy := fmt.Appendf(nil, `
minimum_driver: 550.54.14
vbios_versions: any
gpu_count: 1
device_roots: [%x]        # for this example, as is the next line
rim_roots: [%x]
`, gpu.deviceRoot, gpu.rimRoot)
	say(verifyNVIDIA(verifier, gpu.document, gpu.nonce, rims, ocsp, policy))
	say(verifyNVIDIA(verifier, gpu.document, make([]byte, 32), rims, ocsp, policy))
	// Output:
	// accepted
	// refused: gpu0_nonce
}
