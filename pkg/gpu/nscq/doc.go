// Package nscq answers gpu.NVSwitchReporter from NVIDIA's NVSwitch Configuration and
// Query library, which it loads at run time. It needs cgo; built without, every call
// says so. Calls may hang with the driver: whoever calls gives them a deadline.
//
// The library is proprietary. What is known of it here are NVIDIA's own headers and
// the two programs of NVIDIA's that collect evidence with it; the declarations of this
// package are its own.
//
//   - NVIDIA/nvtrust, guest_tools/attestation_sdk/src/nv_attestation_sdk/verifiers/
//     nv_switch_verifier/nscq: nscq_attestation.h and nscq_attestation_path.h (API
//     2.0.0: types, sizes, codes, functions, paths), __init__.py (the callbacks)
//   - NVIDIA/attestation-sdk, nv-attestation-sdk-cpp/src/switch/nscq_client.cpp: the
//     order of calls, and that a warning is a failure
//   - NVIDIA/nvtrust, guest_tools/ppcie-verifier/ppcie/verifier/verification.py: that
//     every switch must be in the locked mode
//   - NVIDIA/apt-packaging-libnvidia-nscq and NVIDIA/nvtrust issue 153: that the
//     library must be of the driver's version, or making a session ends with the code
//     of a failed RDT initialisation
package nscq

import "github.com/casemate-dev/casemate/pkg/gpu"

// Name is the library's, as packages install it; the 2 is the API's major version.
const Name = "libnvidia-nscq.so.2"

var _ gpu.NVSwitchReporter = (*Library)(nil)
