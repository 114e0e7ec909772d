// Package nvidiatest makes evidence of NVIDIA devices that do not exist: reports,
// certificate chains, RIMs and OCSP responses under roots of its own, each field
// settable. Tests use it for hostile evidence, and a fake GPU for evidence that
// says what it is. Only a policy that names the roots accepts any of it, and the
// verdict is then marked insecure.
package nvidiatest
