// Package measure computes what a confidential VM will report of itself before it is
// started: the launch digest of SEV-SNP, and MRTD, RTMR1 and RTMR2 of TDX. RTMR0 of TDX
// depends on the virtual machine's shape: it is recorded per named shape, or replayed
// from the event log that the firmware left ([ParseEventLog]).
//
// All inputs are bytes; nothing is read or fetched here. Firmware, kernels and event
// logs are taken for hostile: sizes and counts are bounded, and what doesn't fit is an
// error, never a panic.
//
// Sources, as cited in comments:
//   - ABI: AMD "SEV Secure Nested Paging Firmware ABI Specification", 56860, revision 1.58.
//   - APM: AMD64 Architecture Programmer's Manual, volume 2, 24593, table B-4.
//   - TDX ABI: Intel "TDX Module ABI Reference Specification", 348551.
//   - TDVF: Intel "TDX Virtual Firmware Design Guide", 344991.
//   - PFP: TCG "PC Client Platform Firmware Profile", revision 1.05.
//   - OVMF (EDK II) and QEMU, whose layouts the hypervisor and firmware agree on.
package measure
